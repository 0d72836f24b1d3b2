/**
 * Formats whose rows all have the same number of bytes: fvecs, bvecs and bare 32-bit floats.
 *
 * fvecs and bvecs put the dimensions (a 32-bit integer) in front of every row; bare floats have none and need
 * `--dim`. All are little-endian.
 */
import { type CliError, inputError, rowError, usageError } from '../errors.js'
import type { IdFile } from './ids.js'
import { batchRows, type Reader, type RowBatch } from './reader.js'
import type { ByteSource } from './source.js'

const MAX_DIMENSIONS = 65_535

/** Blocks of whole rows as batches, with ids from a file if there is one. */
export async function* rowBatches(
  blocks: AsyncGenerator<Float32Array>,
  dimensions: number,
  ids: IdFile | undefined,
): AsyncGenerator<RowBatch, void, undefined> {
  let row = 0
  for await (const vectors of blocks) {
    const rows = vectors.length / dimensions
    const origins = Array.from({ length: rows }, (_, i) => row + i)
    yield { rows, dimensions, vectors, origins, ...(ids === undefined ? {} : { ids: await ids.take(rows) }) }
    row += rows
  }
  await ids?.finish()
}

/** A reader of fvecs, bvecs or f32. */
export async function stridedReader(
  source: ByteSource,
  format: 'fvecs' | 'bvecs' | 'f32',
  stated: number | undefined,
  ids: IdFile | undefined,
): Promise<Reader> {
  const head = format === 'f32' ? undefined : await source.read(4)
  const dimensions = head === undefined ? stated : headDimensions(source, head, format)
  if (dimensions === undefined && format === 'f32') {
    throw usageError('bare 32-bit floats do not say how long a vector is', 'pass --dim N')
  }
  const shape: Shape = { source, format, dimensions: dimensions ?? 0 }
  return {
    format,
    unit: 'row',
    dimensions,
    get idType() {
      return ids?.rule.type
    },
    fraction: () => source.fraction(),
    batches: () => rowBatches(blocks(shape, head ?? Buffer.alloc(0)), Math.max(1, shape.dimensions), ids),
  }
}

interface Shape {
  readonly source: ByteSource
  readonly format: 'fvecs' | 'bvecs' | 'f32'
  readonly dimensions: number
}

/** The dimensions in front of the first row; nothing for an empty file. */
function headDimensions(source: ByteSource, head: Buffer, format: string): number | undefined {
  if (head.length === 0) return undefined
  const dimensions = head.length === 4 ? head.readInt32LE(0) : 0
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
    throw rowError(
      source.name,
      'row',
      0,
      `says it has ${head.length === 4 ? dimensions : 'cut off'} dimensions; ${format} allows 1 to ${MAX_DIMENSIONS}`,
      'is this file of another format? Pass --format',
    )
  }
  return dimensions
}

/** Whole rows, decoded. `head` is what has been read of the first row. */
async function* blocks({ source, format, dimensions }: Shape, head: Buffer): AsyncGenerator<Float32Array> {
  if (dimensions === 0) return
  const prefix = format === 'f32' ? 0 : 4
  const stride = prefix + dimensions * (format === 'bvecs' ? 1 : 4)
  const atOnce = batchRows(dimensions) * stride
  for (let row = 0; ;) {
    const read = await source.read(atOnce - (row === 0 ? head.length : 0))
    const data = row === 0 && head.length > 0 ? Buffer.concat([head, read]) : read
    if (data.length === 0) return
    const rows = Math.floor(data.length / stride)
    if (data.length % stride !== 0) {
      throw inputError(
        `${source.name} ends in the middle of row ${row + rows}`,
        truncatedHint(format, dimensions),
        { source: source.name, row: row + rows },
      )
    }
    yield decode(data, { source, format, dimensions }, row, stride)
    row += rows
  }
}

function truncatedHint(format: string, dimensions: number): string {
  return format === 'f32'
    ? `its size is no multiple of ${4 * dimensions} bytes: is --dim ${dimensions} right?`
    : 'the copy is incomplete, or rows have different lengths'
}

function decode(
  data: Buffer,
  { source, format, dimensions }: Shape,
  firstRow: number,
  stride: number,
): Float32Array {
  const rows = data.length / stride
  const vectors = new Float32Array(rows * dimensions)
  const bytes = new Uint8Array(vectors.buffer)
  for (let row = 0; row < rows; row++) {
    const start = row * stride
    if (format !== 'f32') {
      const said = data.readInt32LE(start)
      if (said !== dimensions) throw unequal(source, firstRow + row, said, dimensions)
    }
    if (format === 'bvecs') vectors.set(data.subarray(start + 4, start + stride), row * dimensions)
    else bytes.set(data.subarray(start + stride - 4 * dimensions, start + stride), row * 4 * dimensions)
  }
  return vectors
}

function unequal(source: ByteSource, row: number, said: number, dimensions: number): CliError {
  return rowError(
    source.name,
    'row',
    row,
    `has ${said} dimensions, the rows before it ${dimensions}`,
    'every row of an index has the same number of dimensions',
  )
}
