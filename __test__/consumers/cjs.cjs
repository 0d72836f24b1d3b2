/** A CommonJS module that uses the installed package. */
const assert = require('node:assert')

const { ChassisError, VectorIndex } = require('@chassis/core')

const index = VectorIndex.openSync(process.argv[2], { readOnly: true })
assert.equal(index.size, 2)
assert.deepEqual(index.searchSync([4, 5, 6], { k: 1 }).ids, [1])
assert.throws(
  () => index.addSync([1, 2, 3]),
  (error) => error instanceof ChassisError && error.code === 'ERR_CHASSIS_READ_ONLY',
)
assert.equal(index.checkSync().ok, true)
index.closeSync()
assert.equal(require('@chassis/core/package.json').version.split('.').length, 3)
