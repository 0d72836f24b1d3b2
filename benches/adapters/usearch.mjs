/** usearch: the effort of a search is fixed when an index is opened, so a change of ef loads the file again. */
import path from 'node:path'
import { packageVersion } from '../lib/engines.mjs'

const METRICS = { cosine: 'cos', l2: 'l2sq', ip: 'ip' }
const BATCH = 10_000

const file = (job) => path.join(job.directory, 'index.usearch')

const create = (library, job, ef) =>
  new library.Index({
    dimensions: job.dimensions,
    metric: METRICS[job.metric],
    quantization: 'f32',
    connectivity: job.m,
    expansion_add: job.efConstruction,
    expansion_search: ef,
    multi: false,
  })

const load = (library, job, ef) => {
  const index = create(library, job, ef)
  index.load(file(job))
  return index
}

export default {
  version: () => packageVersion('usearch'),
  load: () => import('usearch'),
  async build(library, job, vectors) {
    const { rows, dimensions } = job
    const index = create(library, job, 64)
    for (let row = 0; row < rows; row += BATCH) {
      const count = Math.min(BATCH, rows - row)
      const keys = BigUint64Array.from({ length: count }, (_, i) => BigInt(row + i))
      index.add(keys, vectors.subarray(row * dimensions, (row + count) * dimensions), job.threads)
    }
    index.save(file(job))
  },
  open: async (library, job) => load(library, job, 64),
  prepare: (query) => query,
  setEf: async (_, ef, job, library) => load(library, job, ef),
  search: (index, input, k) => index.search(input, k, 1),
  ids: (result) => Array.from(result.keys, Number),
}
