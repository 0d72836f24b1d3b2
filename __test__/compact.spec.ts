/**
 * Compaction as a Node program and the command line see it.
 */
import { readdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

import test from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { chassis, json } from './cli-support.js'
import { clustered, fails, place, rejects, row } from './support.js'

const ROWS = 4_000
const DIMENSIONS = 32
const DATA = clustered(ROWS, DIMENSIONS, 3)

/** An index with payloads of which every record with an id below `ROWS / 2` is deleted. */
async function worn(path: string): Promise<VectorIndex> {
  const index = await VectorIndex.open(path, { dimensions: DIMENSIONS, metric: 'l2' })
  await index.addBatch(DATA, { payloads: Array.from({ length: ROWS }, (_, i) => ({ n: i })) })
  await index.setUserVersion(9)
  await index.commit()
  await index.delete(Array.from({ length: ROWS / 2 }, (_, i) => i))
  await index.commit()
  return index
}

test('records stay, the file shrinks, and the commit number goes on', async (t) => {
  const path = place(t)
  const index = await worn(path)
  const before = await index.stats()
  const told: [number, number][] = []
  const report = await index.compact({ threads: 2, onProgress: (...tick) => told.push(tick) })
  t.deepEqual([report.records, report.removed], [ROWS / 2, ROWS / 2])
  t.deepEqual([report.bytesBefore, report.bytesAfter], [before.fileBytes, statSync(path).size])
  t.true(report.bytesAfter < 0.7 * report.bytesBefore, JSON.stringify(report))
  t.true(report.commit > before.commit)
  t.deepEqual(told.at(-1), [ROWS / 2, ROWS / 2])
  t.deepEqual(readdirSync(dirname(path)), ['test.chassis'])
  const { count, deleted, userVersion, commit } = await index.stats()
  t.deepEqual([count, deleted, userVersion, commit], [ROWS / 2, 0, 9, report.commit])
  for (let i = 0; i < ROWS; i += 97) {
    const stored = await index.get(i)
    if (i < ROWS / 2) t.is(stored, undefined)
    else t.deepEqual(stored, { id: i, vector: row(DATA, DIMENSIONS, i).slice(), payload: { n: i } })
  }
  t.is(await index.add(row(DATA, DIMENSIONS, 0)), ROWS, 'ids are not given out again')
  await index.commit()
  t.true((await index.check()).ok)
  await index.close()
  const again = VectorIndex.openSync(path)
  t.is(again.size, ROWS / 2 + 1)
  t.is(again.compactSync({ threads: 1 }).records, ROWS / 2 + 1)
  again.closeSync()
})

test('searches go on, writes take their turn, and readers follow when they refresh', async (t) => {
  const path = place(t)
  const index = await worn(path)
  const reader = await VectorIndex.open(path, { readOnly: true })
  const query = row(DATA, DIMENSIONS, ROWS - 5)
  let running = true
  const compacting = index.compact().finally(() => (running = false))
  const added = index.add({ id: 1, vector: query })
  const committed = index.commit()
  let searches = 0
  while (running) {
    t.is((await index.search(query, { k: 1 })).distances[0], 0)
    t.is((await reader.search(query, { k: 1 })).ids[0], ROWS - 5)
    searches++
  }
  t.true(searches > 0)
  const report = await compacting
  await added
  t.true((await committed) > report.commit)
  t.false(await reader.has(1), 'an old reader keeps its answers')
  t.true(await reader.refresh())
  t.true(await reader.has(1))
  t.is((await reader.stats()).deleted, 0)
  t.false(await reader.refresh())
  await reader.close()
  await index.close()
})

test('a signal or a throwing callback leaves the index as it was', async (t) => {
  const path = place(t)
  const index = await worn(path)
  const { commit, fileBytes } = await index.stats()
  const controller = new AbortController()
  const reason = new Error('enough')
  const stopped = index.compact({
    threads: 1,
    signal: controller.signal,
    onProgress: () => controller.abort(reason),
  })
  t.is(await stopped.catch((error: unknown) => error), reason)
  const thrown = new Error('thrown')
  const throwing = index.compact({
    onProgress: () => {
      throw thrown
    },
  })
  t.is(await throwing.catch((error: unknown) => error), thrown)
  const after = await index.stats()
  t.deepEqual([after.commit, after.fileBytes, after.deleted], [commit, fileBytes, ROWS / 2])
  t.deepEqual(readdirSync(dirname(path)), ['test.chassis'])
  t.is((await index.compact()).removed, ROWS / 2)
  await index.close()
})

test('refusals have their code', async (t) => {
  const path = place(t)
  const index = await worn(path)
  const reader = await VectorIndex.open(path, { readOnly: true })
  await rejects(t, () => reader.compact(), 'ERR_CHASSIS_READ_ONLY')
  await rejects(t, () => index.compact({ threads: 0 }), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => index.compact({ thread: 1 } as never), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => index.compact({ onProgress: 1 as never }), 'ERR_CHASSIS_INVALID_OPTION')
  const running = index.compact()
  const closing = index.close()
  t.is((await running).records, ROWS / 2, 'closing waits for it')
  await closing
  await rejects(t, () => index.compact(), 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.compactSync(), 'ERR_CHASSIS_CLOSED')
  await reader.close()
})

test('chassis compact', async (t) => {
  const path = place(t)
  const index = await worn(path)
  t.is((await chassis(['compact', path])).exit, 7, 'another writer has it')
  await index.close()
  const { exit, data } = await json(['compact', path, '--threads', '2'])
  t.is(exit, 0)
  t.like(data, { schema: 'chassis.compact/1', path, records: ROWS / 2, removed: ROWS / 2 })
  t.is(data['bytesAfter'], statSync(path).size)
  const again = await chassis(['compact', path])
  t.regex(again.stdout, /2,000 records, 0 deleted ones removed/)
  t.is((await chassis(['verify', '--deep', path])).exit, 0)
  t.is((await chassis(['compact', `${path}.none`])).exit, 4)
})
