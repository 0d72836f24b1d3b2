/** An ECMAScript module that uses the installed package. */
import assert from 'node:assert'
import { createRequire } from 'node:module'

import { CHASSIS_ERROR_CODES, ChassisError, SearchResult, VectorIndex } from '@chassis/core'

const index = await VectorIndex.open(process.argv[2], { dimensions: 3, metric: 'l2' })
const id = await index.add({ vector: [1, 2, 3], payload: { from: 'esm' } })
await index.addBatch([new Float32Array([4, 5, 6])])
assert.equal(await index.commit(), (await index.stats()).commit)
const result = await index.search([1, 2, 3], { k: 1, include: ['payload'] })
assert.ok(result instanceof SearchResult)
assert.deepEqual([...result][0], { id, distance: 0, similarity: 1, payload: { from: 'esm' } })
await assert.rejects(
  index.add([1]),
  (error) => error instanceof ChassisError && error.code === 'ERR_CHASSIS_DIMENSION_MISMATCH',
)
await index.close()

const cjs = createRequire(import.meta.url)('@chassis/core')
assert.equal(cjs.VectorIndex, VectorIndex, 'import and require share one class')
assert.equal(cjs.CHASSIS_ERROR_CODES, CHASSIS_ERROR_CODES)
