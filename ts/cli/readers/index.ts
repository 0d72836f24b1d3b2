/**
 * Which reader reads a file: by `--format`, else by the end of its name.
 */
import { usageError } from '../errors.js'
import { IdFile, isJsonIds } from './ids.js'
import { jsonlReader } from './jsonl.js'
import { npyReader } from './npy.js'
import type { BadRows, Format, IdType, Reader } from './reader.js'
import { openSource } from './source.js'
import { stridedReader } from './strided.js'

export interface ReaderOptions {
  readonly format: Format | undefined
  readonly dimensions: number | undefined
  readonly idType: IdType | undefined
  /** A file with one id a row, for formats without ids of their own. */
  readonly ids: string | undefined
  /** Names of fields as stated; those that are not are `id`, `vector` and `payload`. */
  readonly idField: string | undefined
  readonly vectorField: string | undefined
  readonly payloadField: string | undefined
  readonly payloadFields: readonly string[] | undefined
  readonly bad: BadRows
  /** Ends a read that waits for its input. */
  readonly signal: AbortSignal | undefined
}

/** What the options are when nothing is stated. */
export const READER_DEFAULTS = {
  format: undefined,
  dimensions: undefined,
  idType: undefined,
  ids: undefined,
  idField: undefined,
  vectorField: undefined,
  payloadField: undefined,
  payloadFields: undefined,
  signal: undefined,
} as const

const ENDINGS: Record<string, Format> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  npy: 'npy',
  fvecs: 'fvecs',
  bvecs: 'bvecs',
  f32: 'f32',
  f32bin: 'f32',
  bin: 'f32',
  raw: 'f32',
}

/** The format a file's name speaks of. Standard input is jsonl unless told otherwise. */
export function formatOf(path: string): Format {
  if (path === '-') return 'jsonl'
  const ending = /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''
  const format = ENDINGS[ending]
  if (format !== undefined) return format
  const known = Object.keys(ENDINGS).map((name) => `.${name}`)
  throw usageError(
    `cannot tell the format of ${JSON.stringify(path)} from its name`,
    `pass --format, or use one of the endings ${known.join(' ')}`,
  )
}

/** Opens a file of vectors. */
export async function openReader(path: string, options: ReaderOptions): Promise<Reader> {
  const format = options.format ?? formatOf(path)
  if (format === 'jsonl' && options.ids !== undefined) {
    throw usageError('--ids is for formats without ids', 'jsonl has the id in each line; see --id-field')
  }
  if (path === '-' && options.ids === '-') {
    throw usageError('vectors and --ids cannot both be standard input', 'put one of them in a file')
  }
  if (format !== 'jsonl') refuseFields(format, options)
  const source = await openSource(path, options.signal)
  if (format === 'jsonl') return jsonlReader(source, options)
  const ids = options.ids === undefined ? undefined : new IdFile(options.ids, options)
  return format === 'npy' ? npyReader(source, ids) : stridedReader(source, format, options.dimensions, ids)
}

/** Only lines have fields: of the vectors, or of the ids beside them. */
function refuseFields(format: Format, options: ReaderOptions): void {
  const stated = [
    options.idField !== undefined && !isJsonIds(options.ids ?? '') && 'id-field',
    options.vectorField !== undefined && 'vector-field',
    options.payloadField !== undefined && 'payload-field',
    (options.payloadFields?.length ?? 0) > 0 && 'payload-fields',
  ].find((name) => name !== false)
  if (stated !== undefined)
    throw usageError(`--${stated} is for jsonl, and ${format} has no fields`, 'leave it out')
}
