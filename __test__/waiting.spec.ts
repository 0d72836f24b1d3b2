/**
 * What waits or runs long hears its signal and leaves the thread pool to others, and a handle keeps to its file.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { clustered, place, rejects } from './support.js'

const FOR_EVER = { lockTimeoutMs: 3_600_000 }

test('an open that waits for the writer hears its signal', async (t) => {
  const path = place(t)
  const writer = await VectorIndex.open(path, { dimensions: 1 })
  const controller = new AbortController()
  const opening = VectorIndex.open(path, { ...FOR_EVER, signal: controller.signal })
  // One whole try and the wait after it, whatever the machine: the second handle's tries take turns with these.
  await rejects(t, () => VectorIndex.open(path, { lockTimeoutMs: 1 }), 'ERR_CHASSIS_WRITER_BUSY')
  const reason = new Error('enough')
  controller.abort(reason)
  t.is(await t.throwsAsync(opening), reason)
  await writer.close()
})

test('opens that wait for the writer leave the pool to others, and get their turn', async (t) => {
  const path = place(t)
  const writer = await VectorIndex.open(path, { dimensions: 1 })
  let opened = 0
  const openings = Array.from({ length: 8 }, async () => {
    const index = await VectorIndex.open(path, FOR_EVER)
    opened++
    await index.close()
  })
  for (let i = 0; i < 10; i++) t.is((await writer.search([1])).length, 0)
  t.is(opened, 0)
  await writer.close()
  await Promise.all(openings)
  t.is(opened, 8)
})

test('a batch of searches hears its signal', async (t) => {
  const rows = clustered(4_000, 16, 1)
  const index = await VectorIndex.open(place(t), { dimensions: 16, metric: 'l2' })
  await index.addBatch(rows)
  const queries = clustered(40_000, 16, 2)
  for (const search of [{ efSearch: 2_000 }, { exact: true }]) {
    const [controller, reason] = [new AbortController(), new Error('enough')]
    let ended = false
    const batch = index.searchBatch(queries, { ...search, threads: 1, signal: controller.signal })
    const rejected = t.throwsAsync(batch.finally(() => (ended = true)))
    // The pool takes up calls in order: this one was answered, so the batch runs.
    await index.search(rows.subarray(0, 16))
    t.false(ended)
    controller.abort(reason)
    t.is(await rejected, reason)
  }
  await index.close()
})

test('a handle opened by a relative path keeps to its file when the process goes elsewhere', (t) => {
  const folder = join(place(t), '..')
  for (const name of ['a', 'b']) mkdirSync(join(folder, name))
  const script = `
    const { VectorIndex } = require(${JSON.stringify(join(import.meta.dirname, '..'))})
    const make = (rows) => {
      const index = VectorIndex.openSync('docs.chassis', { dimensions: 1, metric: 'l2' })
      for (const row of rows) index.addSync([row])
      index.commitSync()
      return index
    }
    process.chdir('b')
    make([1, 2, 3]).closeSync()
    process.chdir('../a')
    const writer = make([7])
    const reader = VectorIndex.openSync('docs.chassis', { readOnly: true })
    process.chdir('../b')
    reader.refreshSync()
    const seen = [reader.size]
    writer.addSync([8])
    writer.compactSync()
    reader.refreshSync()
    seen.push(reader.size)
    console.log(JSON.stringify(seen))
  `
  const out = execFileSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' })
  t.deepEqual(JSON.parse(out), [1, 2])
})
