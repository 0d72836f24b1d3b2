/**
 * Handles from open to close: closing while work runs, disposal, collection, signals and progress.
 */
import { execFileSync } from 'node:child_process'
import { getEventListeners } from 'node:events'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { clustered, fails, place, rejects } from './support.js'

const ROWS = 6_000

async function busy(
  path: string,
): Promise<{ index: VectorIndex; rows: Float32Array; batch: Promise<unknown> }> {
  const rows = clustered(ROWS, 32, 1)
  const index = await VectorIndex.open(path, { dimensions: 32, metric: 'l2' })
  return { index, rows, batch: index.addBatch(rows) }
}

test('close waits for calls that were made before, and refuses later ones', async (t) => {
  const path = place(t)
  const { index, batch } = await busy(path)
  const queued = index.commit()
  const search = index.search(new Float32Array(32))
  const closing = index.close()
  await rejects(t, () => index.search(new Float32Array(32)), 'ERR_CHASSIS_CLOSED')
  t.is(index.close(), closing, 'closing again gives the same promise')
  await closing
  t.is(((await batch) as unknown[]).length, ROWS)
  t.true((await queued) > 0)
  await search
  const again = await VectorIndex.open(path)
  t.is(again.size, ROWS, 'the lock is free and the commit is there')
  await again.close()
})

test('closeSync while a call runs: the call finishes, queued ones are refused', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  let begun = (): void => {}
  const running = new Promise<void>((resolve) => (begun = resolve))
  const batch = index.addBatch(clustered(ROWS, 32, 1), { onProgress: () => begun() })
  const queued = index.commit()
  queued.catch(() => {})
  await running
  index.closeSync()
  index.closeSync()
  t.is((await batch).length, ROWS)
  await fails(t, () => queued, 'ERR_CHASSIS_CLOSED')
  await index.close()
})

test('using and await using', async (t) => {
  const path = place(t)
  let kept: VectorIndex
  {
    await using index = await VectorIndex.open(path, { dimensions: 1 })
    kept = index
    await index.add([1])
    await index.commit()
  }
  await fails(t, () => kept.size, 'ERR_CHASSIS_CLOSED')
  {
    using index = VectorIndex.openSync(path)
    kept = index
    t.is(index.size, 1)
  }
  await fails(t, () => kept.size, 'ERR_CHASSIS_CLOSED')
})

test('a handle that is forgotten lets go of its file when it is collected', (t) => {
  const module = JSON.stringify(new URL('../dist/index.mjs', import.meta.url).href)
  const script = `
    import { VectorIndex } from ${module}
    const path = process.argv[1]
    await (async () => { await VectorIndex.open(path, { dimensions: 2 }) })()
    for (let i = 0; i < 200; i++) {
      gc()
      await new Promise((resolve) => setImmediate(resolve))
      try {
        VectorIndex.openSync(path).closeSync()
        console.log('free')
        process.exit(0)
      } catch (error) {
        if (error.code !== 'ERR_CHASSIS_WRITER_BUSY') throw error
      }
    }`
  const args = ['--expose-gc', '--input-type=module', '-e', script, place(t)]
  t.is(execFileSync(process.execPath, args, { encoding: 'utf8' }), 'free\n')
})

test('an open index does not keep the process running', (t) => {
  const module = JSON.stringify(new URL('../dist/index.mjs', import.meta.url).href)
  const script = `
    import { VectorIndex } from ${module}
    const index = await VectorIndex.open(process.argv[1], { dimensions: 2 })
    await index.addBatch([[1, 2]], { onProgress() {} })
    console.log('done')`
  const args = ['--input-type=module', '-e', script, place(t)]
  t.is(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 }), 'done\n')
})

test('a signal that has fired rejects with its reason and does nothing', async (t) => {
  const path = place(t)
  const reason = new Error('mine')
  const signal = AbortSignal.abort(reason)
  t.is(await t.throwsAsync(VectorIndex.open(path, { dimensions: 1, signal })), reason)
  const index = await VectorIndex.open(path, { dimensions: 1, metric: 'l2' })
  const calls = [
    () => index.add([1], { signal }),
    () => index.addBatch([[1]], { signal }),
    () => index.delete(1, { signal }),
    () => index.get(1, { signal }),
    () => index.has(1, { signal }),
    () => index.search([1], { signal }),
    () => index.searchBatch([[1]], { signal }),
    () => index.commit({ signal }),
    () => index.rollback({ signal }),
    () => index.refresh({ signal }),
    () => index.check({ signal }),
    () => index.stats({ signal }),
    () => index.warm({ signal }),
    () => index.setUserVersion(1, { signal }),
  ]
  for (const call of calls) t.is(await t.throwsAsync(call), reason)
  t.is(
    (await t.throwsAsync(index.add([1], { signal: AbortSignal.abort() }), { any: true })) instanceof Error,
    true,
  )
  t.deepEqual([index.size, index.userVersion], [0, 0])
  await index.close()
})

test('a signal stops a batch that runs, and a call that waits behind it', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const [running, waiting] = [new AbortController(), new AbortController()]
  const batch = index.addBatch(clustered(40_000, 32, 1), { signal: running.signal })
  const queued = index.add(new Float32Array(32), { signal: waiting.signal })
  const last = index.add({ id: 77, vector: new Float32Array(32) })
  waiting.abort(new Error('not waiting'))
  t.is((await t.throwsAsync(queued))?.message, 'not waiting')
  running.abort()
  const error = (await t.throwsAsync(batch, { any: true })) as Error
  t.is(error.name, 'AbortError')
  t.is(await last, 77)
  t.is(index.size, 1)
  await index.commit()
  t.true((await index.check()).ok)
  await index.close()
})

test('a signal that outlives its call, or fires after it, changes nothing', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const controller = new AbortController()
  t.is(await index.add([1], { signal: controller.signal }), 0)
  t.is((await index.search([1], { signal: controller.signal })).length, 1)
  controller.abort()
  t.is(index.size, 1)
  await index.close()
})

test('many calls share one listener on their signal, and leave none', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const warnings: Error[] = []
  const hear = (warning: Error): number => warnings.push(warning)
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  const { signal } = new AbortController()
  const listeners = (): number => getEventListeners(signal, 'abort').length
  const searches = Array.from({ length: 12 }, () => index.search(new Float32Array(32), { signal }))
  const writes = Array.from({ length: 12 }, () => index.add(new Float32Array(32), { signal }))
  t.is(listeners(), 1)
  await Promise.all([...searches, ...writes])
  t.is(listeners(), 0)
  t.deepEqual(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning'), []) // prettier-ignore
  await index.close()
})

test('a signal stops every call that was given it', async (t) => {
  const open = (): Promise<VectorIndex> => VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const indexes = [await open(), await open()]
  const controller = new AbortController()
  const { signal } = controller
  const calls = indexes.map((index) => index.addBatch(clustered(40_000, 32, 1), { signal }))
  const reason = new Error('all of them')
  controller.abort(reason)
  for (const call of calls) {
    t.is(await call.catch((error: unknown) => error), reason)
  }
  for (const index of indexes) await index.close()
})

test('a signal stops a commit while it fits, and what was to be committed is still there', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 256, metric: 'l2' })
  await index.addBatch(clustered(4_000, 256, 5))
  const controller = new AbortController()
  const commit = index.commit({ signal: controller.signal })
  // The pool takes calls up in order: the commit runs, and fits a recall table, which takes far longer than this.
  await index.has(0)
  const reason = new Error('not this one')
  controller.abort(reason)
  t.is(await commit.catch((error: unknown) => error), reason)
  t.deepEqual([index.size, index.statsSync().commit], [4_000, 0])
  t.is(await index.commit(), 1)
  await index.close()
  const again = await VectorIndex.open(path, { readOnly: true })
  t.is(again.size, 4_000)
  await again.close()
})

test('a signal stops a check that runs', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 128, metric: 'l2' })
  await index.addBatch(clustered(8_000, 128, 5))
  const controller = new AbortController()
  const check = index.check({ signal: controller.signal })
  await index.has(0)
  const reason = new Error('enough seen')
  controller.abort(reason)
  t.is(await check.catch((error: unknown) => error), reason)
  t.true((await index.check({ level: 'meta' })).ok)
  await index.close()
})

test('checks wait for a write in its queue, not on the threads that searches need', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const controller = new AbortController()
  const batch = index.addBatch(clustered(40_000, 32, 1), { signal: controller.signal })
  const ended = batch.then(
    () => 'before the search',
    (error: Error) => error.name,
  )
  // As many as the pool has threads. The batch ends when the search has been answered, not before.
  const checks = Array.from({ length: 4 }, () => index.check({ level: 'meta' }))
  await index.search(new Float32Array(32))
  controller.abort()
  t.is(await ended, 'AbortError')
  for (const report of await Promise.all(checks)) t.true(report.ok)
  await index.close()
})

test('progress: rising, throttled, once at the end', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const ticks: [number, number][] = []
  const ids = await index.addBatch(clustered(ROWS, 32, 2), {
    onProgress: (done, total) => ticks.push([done, total]),
  })
  t.is(ids.length, ROWS)
  t.deepEqual(ticks.at(-1), [ROWS, ROWS])
  t.true(ticks.every(([done, total], i) => total === ROWS && (i === 0 || done > ticks[i - 1]![0])))
  const seen = ticks.length
  await index.search(new Float32Array(32))
  t.is(ticks.length, seen, 'no tick after the end')
  await index.close()
})

/** Warnings of the process that tell of this failure, until the test ends. */
function warningsOf(t: ExecutionContext, failure: string): string[] {
  const told: string[] = []
  const hear = (warning: Error & { detail?: string }): void => {
    if (warning.detail?.includes(failure)) told.push(warning.name)
  }
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  return told
}

for (const form of ['throws', 'rejects'] as const) {
  const failing = (failure: unknown) => (): void | Promise<void> => {
    if (form === 'rejects') return Promise.reject(failure)
    throw failure
  }

  test(`a progress callback that ${form} while there is work cancels it`, async (t) => {
    const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
    const failure = new Error('from the callback')
    const batch = index.addBatch(clustered(40_000, 32, 3), { onProgress: failing(failure) })
    t.is(await t.throwsAsync(batch), failure)
    t.is(index.size, 0)
    await index.close()
  })

  test(`a progress callback that ${form} when the work is done fails nothing, and is a warning`, async (t) => {
    const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
    for (const call of ['a batch', 'a compaction']) {
      const message = `late, ${form}, ${call}`
      const told = warningsOf(t, message)
      const onProgress = failing(new Error(message))
      // One row is done at the first tick.
      if (call === 'a batch') t.deepEqual(await index.addBatch([[1, 2]], { onProgress }), [0])
      else t.is((await index.compact({ onProgress })).records, 1)
      await new Promise((resolve) => setImmediate(resolve))
      t.deepEqual(told, ['ChassisWarning'])
    }
    t.is(index.size, 1)
    await index.close()
  })
}

test('a progress promise that rejects after its batch failed is a warning', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 32, metric: 'l2' })
  const told = warningsOf(t, 'long after')
  let reject = (): void => {}
  const controller = new AbortController()
  const onProgress = (): Promise<void> => {
    controller.abort()
    return new Promise((_, refuse) => (reject = () => refuse(new Error('long after'))))
  }
  const { signal } = controller
  await t.throwsAsync(index.addBatch(clustered(40_000, 32, 3), { onProgress, signal }), { any: true })
  reject()
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(told, ['ChassisWarning'])
  await index.close()
})
