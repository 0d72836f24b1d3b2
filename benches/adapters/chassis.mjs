/** Chassis through its facade, from this checkout: `npm run build` first. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const root = new URL('../../', import.meta.url)
const file = (job) => path.join(job.directory, 'index.chassis')

const load = async () => import(new URL('dist/index.mjs', root))

/** The version and a part of the hash of the native library: graphs of another build are not reused. */
function version() {
  const { version: stated } = JSON.parse(fs.readFileSync(new URL('package.json', root), 'utf8'))
  const library = fs.readdirSync(root).find((name) => /^chassis\..+\.node$/.test(name))
  if (!library)
    throw new Error('the native library is not built; run npm ci && npm run build in the root folder')
  const hash = createHash('sha256')
    .update(fs.readFileSync(new URL(library, root)))
    .digest('hex')
  return `${stated}-${hash.slice(0, 8)}`
}

export default {
  version,
  load,
  async build({ VectorIndex }, job, vectors) {
    // Its own efConstruction: bulk builds end with a pass that the peers do not have.
    const { dimensions, metric, m, threads, rows, options } = job
    const index = VectorIndex.openSync(file(job), { dimensions, metric, m, ...options })
    const ids = BigUint64Array.from({ length: rows }, (_, row) => BigInt(row))
    index.addBatchSync(vectors, { ids, threads })
    index.commitSync()
    index.closeSync()
  },
  open: async ({ VectorIndex }, job) => ({
    index: VectorIndex.openSync(file(job), { readOnly: true }),
    efSearch: 64,
  }),
  prepare: (query) => query,
  setEf: async ({ index }, efSearch) => ({ index, efSearch }),
  search: ({ index, efSearch }, input, k) => index.searchSync(input, { k, efSearch }),
  ids: (result) => result.ids,
}
