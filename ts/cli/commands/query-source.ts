/**
 * Where queries come from, as batches of vectors with a name for each.
 */
import type { IdType, VectorIndex } from '../../index.js'
import { CliError, Exit, inputError, usageError } from '../errors.js'
import { brief } from '../format.js'
import { openReader, READER_DEFAULTS } from '../readers/index.js'
import { BadRows, type Format, type RowId, withoutBadVectors } from '../readers/reader.js'
import { openSource, sourceName } from '../readers/source.js'

export interface Source {
  readonly kind: 'vector' | 'id' | 'file' | 'queries'
  /** The text of the vector, the id, or the path. */
  readonly value: string
  readonly format: Format | undefined
  readonly idField: string | undefined
  readonly vectorField: string | undefined
}

export interface QueryBatch {
  /** For messages. */
  readonly name: string
  readonly dimensions: number
  readonly vectors: Float32Array
  /** What each query is called in the results: its id, or its position. */
  readonly names: readonly RowId[]
}

/** A JSON file with one vector is small; more than this is another kind of file. */
const MAX_FILE = 16 << 20

export async function* queriesFrom(
  source: Source,
  index: VectorIndex<IdType>,
  signal: AbortSignal,
): AsyncGenerator<QueryBatch> {
  switch (source.kind) {
    case 'vector':
      yield single(parseVector('--vector', source.value, source.vectorField))
      return
    case 'id':
      yield single(await storedVector(source.value, index))
      return
    case 'file':
      yield single(await vectorFile(source, signal))
      return
    case 'queries':
      yield* manyQueries(source, index, signal)
  }
}

function single({ name, vector }: { name: string; vector: Float32Array }): QueryBatch {
  return { name, dimensions: vector.length, vectors: vector, names: [0] }
}

function parseVector(name: string, text: string, field = 'vector'): { name: string; vector: Float32Array } {
  const hint = 'write the vector as a JSON array: [0.1, 0.2, 0.3]'
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw inputError(`${name} is not valid JSON: ${(error as Error).message}`, hint)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    if (!Object.hasOwn(value, field))
      throw inputError(`${name} has no field ${JSON.stringify(field)}`, `${hint}, or pass --vector-field`)
    value = (value as Record<string, unknown>)[field]
  }
  if (!Array.isArray(value) || value.length === 0)
    throw inputError(`${name} is not an array of numbers`, hint)
  const bad = value.findIndex((element) => typeof element !== 'number')
  if (bad >= 0) throw inputError(`${name}: value ${bad} is ${brief(value[bad])}, not a number`, hint)
  return { name: name === '--vector' ? 'the query' : name, vector: Float32Array.from(value as number[]) }
}

async function storedVector(
  text: string,
  index: VectorIndex<IdType>,
): Promise<{ name: string; vector: Float32Array }> {
  const integer = index.idType === 'integer'
  if (integer && !/^\d{1,20}$/.test(text)) {
    throw usageError(
      `--id is ${JSON.stringify(text)}, but the ids of ${index.path} are integers`,
      'pass a whole number',
    )
  }
  const record = await index.get(integer ? BigInt(text) : text)
  if (record !== undefined) return { name: `record ${text}`, vector: record.vector }
  throw new CliError(
    Exit.notFound,
    'ERR_CHASSIS_NOT_FOUND',
    `${index.path} has no record with the id ${text}`,
    {
      hint: 'check the id',
    },
  )
}

async function vectorFile(
  { value, vectorField }: Source,
  signal: AbortSignal,
): Promise<{ name: string; vector: Float32Array }> {
  const source = await openSource(value, signal)
  const data = await source.read(MAX_FILE + 1)
  await source.close()
  if (data.length === 0) throw inputError(`${source.name} is empty`, 'write the vector to it as a JSON array')
  if (data.length > MAX_FILE)
    throw inputError(`${source.name} is too large for one vector`, 'pass it as --queries')
  return parseVector(source.name, data.toString('utf8').replace(/^\ufeff/, ''), vectorField)
}

async function* manyQueries(
  source: Source,
  index: VectorIndex<IdType>,
  signal: AbortSignal,
): AsyncGenerator<QueryBatch> {
  const name = sourceName(source.value)
  const bad = new BadRows('error', name, 'correct or remove the query')
  const reader = await openReader(source.value, {
    ...READER_DEFAULTS,
    format: source.format,
    idField: source.idField,
    vectorField: source.vectorField,
    payloadFields: [],
    // Only bare floats need to be told; for the rest a wrong length is a mismatch, not a bad row.
    dimensions:
      /\.(f32|f32bin|bin|raw)$/i.test(source.value) || source.format === 'f32' ? index.dimensions : undefined,
    bad,
    signal,
  })
  for await (const batch of reader.batches()) {
    const { dimensions, vectors, ids, origins } = withoutBadVectors(batch, reader.unit, index.metric, bad)
    const numbers = reader.unit === 'line' ? origins.map((line) => line - 1) : origins
    yield { name, dimensions, vectors, names: ids ?? numbers }
  }
}
