/**
 * What outlives a handle, a process and a failure.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import test from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { clustered, place, rejects, row } from './support.js'

const CHILD = fileURLToPath(new URL('./fixtures/child.mjs', import.meta.url))
const runFile = promisify(execFile)

async function child(role: string, path: string): Promise<Record<string, unknown>> {
  const { stdout } = await runFile(process.execPath, [CHILD, role, path])
  return JSON.parse(stdout) as Record<string, unknown>
}

test('another process sees what was committed, and needs no options', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 12, metric: 'l2', model: 'stamp' })
  const payloads = Array.from({ length: 2_000 }, (_, i) => (i % 3 ? undefined : { i }))
  await index.addBatch(clustered(2_000, 12, 1), { payloads })
  await index.setUserVersion(42)
  const commit = await index.commit()
  await index.add(new Float32Array(12).fill(0.25))
  const query = new Float32Array(12).fill(0.25)
  const seen = await child('inspect', path)
  t.like(seen, {
    count: 2_000,
    commit,
    dimensions: 12,
    metric: 'l2',
    model: 'stamp',
    userVersion: 42,
    ok: true,
  })
  await index.rollback()
  const mine = await index.search(query, { k: 5, include: ['payload'] })
  t.deepEqual(seen['nearest'], JSON.parse(JSON.stringify(mine)))
  await index.close()
})

test('closing forgets what was not committed; nothing lies beside the file', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 2, metric: 'l2' })
  await index.add([1, 1])
  const first = await index.commit()
  t.is(await index.commit(), first, 'a commit without changes')
  await index.add([2, 2])
  await index.delete(0)
  await index.close()
  const again = await VectorIndex.open(path)
  t.deepEqual([again.size, again.hasSync(0), again.statsSync().commit], [1, true, first])
  t.is(await again.add([3, 3]), 1)
  await again.close()
  t.deepEqual(readdirSync(dirname(path)), ['test.chassis'])
})

test('deletes are as durable as additions, and deleted ids may be used again', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 8, metric: 'cosine' })
  const rows = clustered(500, 8, 2)
  await index.addBatch(rows)
  await index.commit()
  t.is(await index.delete(Array.from({ length: 250 }, (_, i) => 2 * i)), 250)
  t.is(await index.add({ id: 4, vector: row(rows, 8, 7) }), 4)
  await index.commit()
  await index.close()
  const again = await VectorIndex.open(path, { readOnly: true })
  const found = again.searchSync(row(rows, 8, 0), { k: 500 })
  t.is(found.length, 251)
  t.true(found.ids.every((id) => Number(id) % 2 === 1 || id === 4))
  t.deepEqual(again.getSync(4)?.vector, row(rows, 8, 7))
  t.true((await again.check()).ok)
  await again.close()
})

test('the same operations give the same bytes, at any number of threads', async (t) => {
  const files = []
  for (const threads of [1, 2, 5]) {
    const path = place(t)
    const index = await VectorIndex.open(path, { dimensions: 16, metric: 'l2', model: 'm' })
    await index.addBatch(clustered(3_000, 16, 3), { threads })
    await index.commit()
    await index.delete([5, 6])
    await index.commit()
    await index.close()
    files.push(readFileSync(path))
  }
  t.true(files[0]!.equals(files[1]!) && files[0]!.equals(files[2]!))
})

test('a reader keeps its snapshot until it refreshes', async (t) => {
  const writer = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
  await writer.add([1, 0])
  await writer.commit()
  const reader = await VectorIndex.open(writer.path, { readOnly: true })
  for (let i = 0; i < 10; i++) {
    await writer.add([i + 2, 0])
    await writer.commit()
    t.deepEqual((await reader.search([0, 0], { k: 100 })).ids, [0])
  }
  t.true(await reader.refresh())
  t.false(await reader.refresh())
  t.is(reader.size, 11)
  await Promise.all([reader.close(), writer.close()])
})

test('a copy of the file made between commits is an index', async (t) => {
  const [path, copy] = [place(t), place(t, 'copy.chassis')]
  const index = await VectorIndex.open(path, { dimensions: 6, metric: 'l2' })
  await index.addBatch(clustered(400, 6, 4))
  await index.commit()
  await index.addBatch(clustered(400, 6, 5))
  copyFileSync(path, copy)
  await index.close()
  const other = await VectorIndex.open(copy)
  t.is(other.size, 400)
  t.is((await other.addBatch(clustered(50, 6, 6))).length, 50)
  await other.commit()
  t.true((await other.check()).ok)
  await other.close()
})

test('one writer across processes; the lock goes with its holder, killed or not', async (t) => {
  const path = place(t)
  const first = await VectorIndex.open(path, { dimensions: 2, metric: 'l2' })
  await first.add([1, 1])
  await first.commit()
  await first.close()
  for (const end of ['stdin', 'SIGKILL'] as const) {
    const holder = spawn(process.execPath, [CHILD, 'hold', path], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    const error = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_WRITER_BUSY')
    t.true(error.message.includes(String(holder.pid)), error.message)
    const reader = await VectorIndex.open(path, { readOnly: true })
    t.is(reader.size, 1)
    await reader.close()
    const waiting = VectorIndex.open(path, { lockTimeoutMs: 60_000 })
    if (end === 'stdin') holder.stdin.end()
    else holder.kill(end)
    const index = await waiting
    t.is(index.size, 1)
    t.true((await index.check()).ok)
    await index.close()
  }
})

const posix = process.platform === 'win32' ? test.skip : test
posix('a full disk: the error says so, the last commit stays, the handle goes on', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 128, metric: 'l2' })
  await index.close()
  // A limit on the size of files acts like a full disk, and needs no file system of its own.
  const { stdout } = await runFile('bash', [
    '-c',
    'ulimit -f 2048; exec "$0" "$@"',
    process.execPath,
    CHILD,
    'fill',
    path,
  ])
  const seen = JSON.parse(stdout) as { commit: number; size: number }
  t.like(seen, { code: 'ERR_CHASSIS_DISK_FULL', ok: true, length: 10 }, stdout)
  const again = await VectorIndex.open(path)
  t.deepEqual([again.size, again.statsSync().commit], [seen.size, seen.commit])
  t.true(again.size >= 64 && again.size % 64 === 0)
  await again.add(new Float32Array(128))
  await again.commit()
  t.true((await again.check()).ok)
  await again.close()
})
