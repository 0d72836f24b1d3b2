/** Loads the built package, and makes and searches an index: for lanes that emulate a CPU. `node smoke.cjs KERNEL` */
const assert = require('node:assert')
const { mkdtempSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')

async function main(kernel) {
  const { VectorIndex } = require('..')
  const folder = mkdtempSync(join(tmpdir(), 'chassis-smoke-'))
  try {
    const index = await VectorIndex.open(join(folder, 'smoke.chassis'), { dimensions: 3, metric: 'l2' })
    await index.add(new Float32Array([1, 2, 3]))
    await index.add(new Float32Array([4, 5, 6]))
    await index.commit()
    const found = await index.search(new Float32Array([4, 5, 7]), { k: 1 })
    assert.equal(Number(found.ids[0]), 1)
    assert.equal(found.distances[0], 1)
    const stats = await index.stats()
    assert.equal(stats.kernel, kernel)
    await index.close()
    console.log(`the addon works in Node ${process.version} on ${process.arch} with kernel ${stats.kernel}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

main(process.argv[2])
