/**
 * One file in several threads: readers beside a writer, and threads that are terminated in the middle of their work.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { clustered, place } from './support.js'

const DIMENSIONS = 16

function start(path: string, role: string, rounds = 0): Worker {
  const workerData = { path, role, rounds, dimensions: DIMENSIONS }
  return new Worker(new URL('./fixtures/worker.mjs', import.meta.url), { workerData, execArgv: [] })
}

async function committed(t: ExecutionContext, rows: number): Promise<VectorIndex> {
  const index = await VectorIndex.open(place(t), { dimensions: DIMENSIONS, metric: 'l2' })
  await index.addBatch(clustered(rows, DIMENSIONS, 1))
  await index.commit()
  return index
}

test('readers in workers see whole commits of the writer', async (t) => {
  const writer = await committed(t, 1_000)
  const readers = [1, 2, 3].map(() => start(writer.path, 'reader', 60))
  const reports = readers.map(
    (reader) => once(reader, 'message') as Promise<[{ ok: boolean; sizes: number[] }]>,
  )
  const allowed = new Set([1_000])
  for (let i = 0; i < 8; i++) {
    await writer.addBatch(clustered(100, DIMENSIONS, i + 2))
    await writer.add(new Float32Array(DIMENSIONS))
    allowed.add(writer.size)
    await writer.commit()
  }
  for (const report of reports) {
    const [seen] = await report
    t.true(seen.ok, JSON.stringify(seen))
    t.true(seen.sizes.every((size) => allowed.has(size)), `sizes ${seen.sizes}`) // prettier-ignore
  }
  await Promise.all(readers.map((reader) => reader.terminate()))
  t.true((await writer.check()).ok)
  await writer.close()
})

test('terminating workers in the middle of their work harms nobody', async (t) => {
  const writer = await committed(t, 12_000)
  for (let i = 0; i < 5; i++) {
    const readers = [start(writer.path, 'endless'), start(writer.path, 'endless')]
    await Promise.all(readers.map((reader) => once(reader, 'message')))
    writer.searchSync(new Float32Array(DIMENSIONS))
    await Promise.all(readers.map((reader) => reader.terminate()))
  }
  await writer.add(new Float32Array(DIMENSIONS))
  await writer.commit()
  t.true((await writer.check()).ok)
  await writer.close()
})

test('terminating a worker that writes frees the file and loses only what was not committed', async (t) => {
  const index = await committed(t, 1_000)
  await index.close()
  for (let i = 0; i < 3; i++) {
    const worker = start(index.path, 'writer')
    await once(worker, 'message')
    await worker.terminate()
    const again = await VectorIndex.open(index.path, { lockTimeoutMs: 30_000 })
    t.is(again.size, 1_000)
    t.true((await again.check()).ok)
    await again.close()
  }
})

test('the main thread and workers share one process and one writer', async (t) => {
  const index = await committed(t, 100)
  const worker = start(index.path, 'writer')
  const [error] = (await once(worker, 'error')) as [Error & { code: string }]
  t.regex(String(error.message), new RegExp(String(process.pid)))
  await index.close()
})
