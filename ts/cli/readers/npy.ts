/**
 * Vectors from a NumPy array of shape (rows, dimensions); a one-dimensional array is one row.
 */
import { inputError } from '../errors.js'
import type { IdFile } from './ids.js'
import { elements, openNpy } from './npy-header.js'
import { batchRows, type Reader } from './reader.js'
import type { ByteSource } from './source.js'
import { rowBatches } from './strided.js'

export async function npyReader(source: ByteSource, ids: IdFile | undefined): Promise<Reader> {
  const npy = await openNpy(source, 'floats')
  const [rows, dimensions] = npy.shape.length === 1 ? [1, npy.shape[0]!] : npy.shape
  if (npy.shape.length > 2 || rows === undefined || dimensions === undefined || dimensions === 0) {
    throw inputError(
      `${source.name} has the shape (${npy.shape.join(', ')}); vectors need (rows, dimensions)`,
      'reshape it: numpy.save(out, a.reshape(rows, dimensions))',
    )
  }
  const blocks = () => elements(npy, dimensions, batchRows(dimensions)) as AsyncGenerator<Float32Array>
  return {
    format: 'npy',
    unit: 'row',
    dimensions,
    get idType() {
      return ids?.rule.type
    },
    fraction: () => source.fraction(),
    batches: () => rowBatches(blocks(), dimensions, ids),
  }
}
