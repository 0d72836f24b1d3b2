/**
 * What a reader of vectors gives: batches of rows, each row knowing where it came from.
 *
 * Readers stream. None holds more than a batch and a chunk of the file, whatever the size of the input.
 */
import { rowError } from '../errors.js'
import { plural } from '../format.js'

/** An id as it goes to the engine. */
export type RowId = number | bigint | string

export type IdType = 'integer' | 'string'

/** Rows that lie back to back, with what belongs to each. */
export interface RowBatch {
  readonly rows: number
  readonly dimensions: number
  /** `rows * dimensions` values. */
  readonly vectors: Float32Array
  /** One id a row; absent when the engine is to assign them. */
  readonly ids?: RowId[]
  /** One payload a row, `undefined` for none; absent when no row has one. */
  readonly payloads?: unknown[]
  /** The number of each row in the input: lines count from 1, rows of binary files from 0. */
  readonly origins: number[]
}

export type Format = 'jsonl' | 'npy' | 'fvecs' | 'bvecs' | 'f32'

export const FORMATS: readonly Format[] = ['jsonl', 'npy', 'fvecs', 'bvecs', 'f32']

export interface Reader {
  readonly format: Format
  /** What `origins` counts. */
  readonly unit: 'line' | 'row'
  /** Known from the start for formats that state it, else after the first batch. */
  readonly dimensions: number | undefined
  /** Which ids the rows have; `undefined` when they have none. Known after the first batch. */
  readonly idType: IdType | undefined
  /** How much of the input has been read, from 0 to 1, when its size is known. */
  fraction(): number | undefined
  batches(): AsyncGenerator<RowBatch, void, undefined>
}

/** Bytes of vectors in a batch: large enough for the engine to link rows in parallel, small in memory. */
const BATCH_BYTES = 16 << 20
const MAX_BATCH_ROWS = 8192

/**
 * Rows in a batch. It depends on the dimensions alone, so that the same input always reaches the engine in the
 * same batches and gives the same file.
 */
export function batchRows(dimensions: number): number {
  return Math.max(1, Math.min(MAX_BATCH_ROWS, Math.floor(BATCH_BYTES / (4 * dimensions))))
}

/** What to do with rows whose vector cannot be stored. */
export type BadVectorPolicy = 'error' | 'skip'

/** Lengths the cosine metric accepts; outside them squares leave the range of 32-bit floats. As in the engine. */
const MIN_NORM = 1e-18
const MAX_NORM = 1e18
/** Skipped rows that are named in the report; all are counted. */
const NAMED = 20

/** The rows left out so far, or the error of the first one. */
export class BadRows {
  readonly named: { where: string; reason: string }[] = []
  count = 0
  readonly #policy: BadVectorPolicy
  readonly #source: string
  readonly #hint: string

  constructor(policy: BadVectorPolicy, source: string, hint: string) {
    this.#policy = policy
    this.#source = source
    this.#hint = hint
  }

  /** Records one bad row, or throws when bad rows are errors. */
  add(unit: 'line' | 'row', origin: number, reason: string): void {
    if (this.#policy === 'error') {
      throw rowError(this.#source, unit, origin, reason, this.#hint)
    }
    this.count++
    if (this.named.length < NAMED) this.named.push({ where: `${unit} ${origin}`, reason })
  }

  /** `3 rows`, for messages. */
  describe(): string {
    return plural(this.count, 'row')
  }
}

/** Why a row cannot be stored under a metric, or nothing when it can. */
export function badVector(row: Float32Array, metric: string | undefined): string | undefined {
  let norm2 = 0
  for (let i = 0; i < row.length; i++) {
    const value = row[i]!
    if (!Number.isFinite(value)) return `value ${i} of the vector is ${value}`
    norm2 += value * value
  }
  if (metric !== 'cosine') return undefined
  const norm = Math.sqrt(norm2)
  if (norm < MIN_NORM)
    return norm === 0 ? 'the vector is all zeros, which has no cosine' : 'the vector is too short for cosine'
  return norm > MAX_NORM ? 'the vector is too long for cosine' : undefined
}

/** The batch without the rows that cannot be stored; the same batch when all can. */
export function withoutBadVectors(
  batch: RowBatch,
  unit: 'line' | 'row',
  metric: string | undefined,
  bad: BadRows,
): RowBatch {
  const { dimensions, vectors } = batch
  const kept: number[] = []
  for (let row = 0; row < batch.rows; row++) {
    const reason = badVector(vectors.subarray(row * dimensions, (row + 1) * dimensions), metric)
    if (reason === undefined) kept.push(row)
    else bad.add(unit, batch.origins[row]!, reason)
  }
  if (kept.length === batch.rows) return batch
  const packed = new Float32Array(kept.length * dimensions)
  kept.forEach((row, i) =>
    packed.set(vectors.subarray(row * dimensions, (row + 1) * dimensions), i * dimensions),
  )
  const take = <T>(list: T[]) => kept.map((row) => list[row]!)
  return {
    rows: kept.length,
    dimensions,
    vectors: packed,
    ...(batch.ids === undefined ? {} : { ids: take(batch.ids) }),
    ...(batch.payloads === undefined ? {} : { payloads: take(batch.payloads) }),
    origins: take(batch.origins),
  }
}
