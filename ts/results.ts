/**
 * Results of a search: columns, and rows made on demand.
 */
import { native } from './native.js'
import type { IdOf, IdType, Include, Metric, Payload } from './types.js'

/** One result of a search. */
export type SearchRow<T extends IdType = 'integer', I extends Include = never> = {
  /** The record's id. */
  id: IdOf<T>
  /** Smaller is closer; see {@link Metric}. */
  distance: number
  /** Larger is closer; see {@link Metric}. */
  similarity: number
} & ('vector' extends I ? { /** The record's vector. */ vector: Float32Array } : unknown) &
  ('payload' extends I
    ? { /** The record's payload, if it has one. */ payload: Payload | undefined }
    : unknown)

/**
 * Results of one search, nearest first; equal distances in the order they were added.
 *
 * Columnar, because that is cheap; iterate it for rows.
 *
 * @example
 * ```ts
 * const result = await index.search(query, { k: 5, include: ['payload'] })
 * result.ids[0] // the nearest record
 * for (const { id, similarity, payload } of result) console.log(id, similarity, payload)
 * ```
 */
export class SearchResult<T extends IdType = 'integer', I extends Include = never> {
  /** Ids, nearest first. */
  readonly ids: readonly IdOf<T>[]
  /** One distance per id; smaller is closer. */
  readonly distances: Float32Array
  /** One vector per id, when `include` names `'vector'`. */
  readonly vectors: 'vector' extends I ? readonly Float32Array[] : undefined
  /** One payload per id, `undefined` where a record has none, when `include` names `'payload'`. */
  readonly payloads: 'payload' extends I ? readonly (Payload | undefined)[] : undefined
  readonly #metric: Metric
  #similarities: Float32Array | undefined

  /** @internal */
  constructor(
    metric: Metric,
    ids: readonly IdOf<T>[],
    distances: Float32Array,
    vectors?: readonly Float32Array[],
    payloads?: readonly (Payload | undefined)[],
  ) {
    this.ids = ids
    this.distances = distances
    this.vectors = vectors as typeof this.vectors
    this.payloads = payloads as typeof this.payloads
    this.#metric = metric
  }

  /** Number of results. */
  get length(): number {
    return this.distances.length
  }

  /** One similarity per id; larger is closer. Computed at the first use. */
  get similarities(): Float32Array {
    return (this.#similarities ??= native.similarities(this.#metric, this.distances))
  }

  /** The result at a position, counted from the end when negative; `undefined` where there is none. */
  at(position: number): SearchRow<T, I> | undefined {
    const i = position < 0 ? position + this.length : position
    return i in this.ids ? this.#row(i) : undefined
  }

  /** All results as rows. */
  toArray(): SearchRow<T, I>[] {
    return Array.from(this.ids, (_, i) => this.#row(i))
  }

  /** What `JSON.stringify` uses: the rows. */
  toJSON(): SearchRow<T, I>[] {
    return this.toArray()
  }

  /** Rows, nearest first. */
  *[Symbol.iterator](): IterableIterator<SearchRow<T, I>> {
    for (let i = 0; i < this.length; i++) yield this.#row(i)
  }

  #row(i: number): SearchRow<T, I> {
    const row: Record<string, unknown> = {
      id: this.ids[i],
      distance: this.distances[i],
      similarity: this.similarities[i],
    }
    if (this.vectors !== undefined) row['vector'] = this.vectors[i]
    if (this.payloads !== undefined) row['payload'] = this.payloads[i]
    return row as SearchRow<T, I>
  }
}
