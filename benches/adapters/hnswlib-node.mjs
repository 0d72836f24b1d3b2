/** hnswlib-node: takes plain arrays only, keeps the whole index in memory, one thread. */
import path from 'node:path'
import { packageVersion } from '../lib/engines.mjs'

const file = (job) => path.join(job.directory, 'index.dat')

export default {
  version: () => packageVersion('hnswlib-node'),
  load: async () => (await import('hnswlib-node')).default,
  async build(library, job, vectors) {
    const { rows, dimensions } = job
    const index = new library.HierarchicalNSW(job.metric, dimensions)
    index.initIndex(rows, job.m, job.efConstruction, 100)
    for (let row = 0; row < rows; row++) {
      index.addPoint(Array.from(vectors.subarray(row * dimensions, (row + 1) * dimensions)), row)
    }
    index.writeIndexSync(file(job))
  },
  async open(library, job) {
    const index = new library.HierarchicalNSW(job.metric, job.dimensions)
    index.readIndexSync(file(job))
    return index
  },
  prepare: (query) => Array.from(query),
  async setEf(index, ef) {
    index.setEf(ef)
    return index
  },
  search: (index, input, k) => index.searchKnn(input, k),
  ids: (result) => result.neighbors,
}
