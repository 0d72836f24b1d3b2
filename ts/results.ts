/**
 * Results of a search: columns, and rows made on demand.
 */
import { native } from './native.js'
import { decodePayload } from './payload.js'
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

/** What `include` asked for, as the core gives it. */
export interface Included {
  dimensions: number
  /** Vectors back to back. */
  vectors: Float32Array | undefined
  /** Payloads back to back. */
  payloads: Uint8Array | undefined
  /** The bytes of each payload, -1 where there is none. */
  lengths: Float64Array | undefined
}

/** The part of `included` that belongs to results `from` to `to`, of which the payloads begin at byte `start`. */
export function cut(included: Included, from: number, to: number, start: number): [Included, end: number] {
  const { dimensions, vectors, payloads } = included
  const lengths = included.lengths?.slice(from, to)
  const end = start + (lengths?.reduce((sum, length) => sum + Math.max(length, 0), 0) ?? 0)
  const rows = vectors?.slice(from * dimensions, to * dimensions)
  return [{ dimensions, vectors: rows, payloads: payloads?.slice(start, end), lengths }, end]
}

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
  readonly #metric: Metric
  readonly #included: Included
  #similarities: Float32Array | undefined
  // Made when they are read: all rows of a large batch at once would hold up the event loop.
  #vectors: Float32Array[] | undefined
  #payloads: (Payload | undefined)[] | undefined
  #starts: number[] | undefined

  /** @internal */
  constructor(metric: Metric, ids: readonly IdOf<T>[], distances: Float32Array, included: Included) {
    this.ids = ids
    this.distances = distances
    this.#metric = metric
    this.#included = included
    if (included.vectors !== undefined) this.#vectors = []
    if (included.payloads !== undefined) this.#payloads = []
  }

  /** Number of results. */
  get length(): number {
    return this.distances.length
  }

  /** One similarity per id; larger is closer. Computed at the first use. */
  get similarities(): Float32Array {
    return (this.#similarities ??= native.similarities(this.#metric, this.distances))
  }

  /** One vector per id, when `include` names `'vector'`. Made at the first use. */
  get vectors(): 'vector' extends I ? readonly Float32Array[] : undefined {
    for (let i = 0; i < (this.#vectors === undefined ? 0 : this.length); i++) this.#vector(i)
    return this.#vectors as 'vector' extends I ? Float32Array[] : undefined
  }

  /**
   * One payload per id, `undefined` where a record has none, when `include` names `'payload'`. Decoded at the first
   * use.
   */
  get payloads(): 'payload' extends I ? readonly (Payload | undefined)[] : undefined {
    for (let i = 0; i < (this.#payloads === undefined ? 0 : this.length); i++) this.#payload(i)
    return this.#payloads as 'payload' extends I ? (Payload | undefined)[] : undefined
  }

  /** The result at a position, counted from the end when negative; `undefined` where there is none. */
  at(position: number): SearchRow<T, I> | undefined {
    const whole = Math.trunc(position) || 0
    const i = whole < 0 ? whole + this.length : whole
    return i >= 0 && i < this.length ? this.#row(i) : undefined
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
    if (this.#vectors !== undefined) row['vector'] = this.#vector(i)
    if (this.#payloads !== undefined) row['payload'] = this.#payload(i)
    return row as SearchRow<T, I>
  }

  #vector(i: number): Float32Array {
    const { dimensions, vectors } = this.#included as { dimensions: number; vectors: Float32Array }
    return (this.#vectors![i] ??= vectors.slice(i * dimensions, (i + 1) * dimensions))
  }

  #payload(i: number): Payload | undefined {
    const { payloads, lengths } = this.#included as { payloads: Uint8Array; lengths: Float64Array }
    let next = 0
    this.#starts ??= Array.from(lengths, (length) => (next += Math.max(length, 0)) - Math.max(length, 0))
    const [start, length] = [this.#starts[i]!, lengths[i]!]
    if (length < 0) return (this.#payloads![i] = undefined)
    return (this.#payloads![i] ??= decodePayload(payloads.slice(start, start + length)))
  }
}
