/** zvec: a folder with a log, segments and an id map; string ids; the graph is built by `optimize`. */
import path from 'node:path'
import { packageVersion } from '../lib/engines.mjs'

const METRICS = { cosine: 'COSINE', l2: 'L2', ip: 'IP' }
const BATCH = 1000

const folder = (job) => path.join(job.directory, 'zvec')

function initialize(zvec, threads) {
  zvec.ZVecInitialize({ logLevel: zvec.ZVecLogLevel.ERROR, queryThreads: 1, optimizeThreads: threads })
}

export default {
  version: () => packageVersion('@zvec/zvec'),
  load: async () => (await import('@zvec/zvec')).default,
  async build(zvec, job, vectors) {
    initialize(zvec, job.threads)
    const { rows, dimensions } = job
    const indexParams = {
      indexType: zvec.ZVecIndexType.HNSW,
      metricType: zvec.ZVecMetricType[METRICS[job.metric]],
      m: job.m,
      efConstruction: job.efConstruction,
    }
    const vector = { name: 'v', dataType: zvec.ZVecDataType.VECTOR_FP32, dimension: dimensions, indexParams }
    const schema = new zvec.ZVecCollectionSchema({ name: 'bench', vectors: vector })
    const collection = zvec.ZVecCreateAndOpen(folder(job), schema)
    for (let row = 0; row < rows; row += BATCH) {
      const records = Array.from({ length: Math.min(BATCH, rows - row) }, (_, i) => ({
        id: String(row + i),
        vectors: { v: vectors.subarray((row + i) * dimensions, (row + i + 1) * dimensions) },
      }))
      const failed = collection.insertSync(records).find((status) => !status.ok)
      if (failed) throw new Error(JSON.stringify(failed))
    }
    collection.optimizeSync({ concurrency: job.threads })
    collection.closeSync()
  },
  async open(zvec, job) {
    initialize(zvec, 1)
    return { zvec, collection: zvec.ZVecOpen(folder(job)), ef: 64 }
  },
  prepare: (query) => query,
  setEf: async (index, ef) => ({ ...index, ef }),
  search: ({ zvec, collection, ef }, input, k) =>
    collection.querySync({
      fieldName: 'v',
      vector: input,
      topk: k,
      outputFields: [],
      params: { indexType: zvec.ZVecIndexType.HNSW, ef },
    }),
  ids: (result) => result.map((record) => Number(record.id)),
}
