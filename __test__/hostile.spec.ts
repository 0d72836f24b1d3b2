/**
 * Arguments that lie, change while they are read, or refuse to be looked at: a typed error or a right answer, and an index
 * that goes on.
 */
import test, { type ExecutionContext } from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { fails, place } from './support.js'

/** What TypeScript would refuse. */
const anything = (value: unknown): never => value as never

async function small(t: ExecutionContext): Promise<VectorIndex> {
  const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
  await index.addBatch([
    [1, 2],
    [3, 4],
  ])
  t.teardown(() => index.closeSync())
  return index
}

/** A list that says it holds billions of entries and has one. */
function holes(first: unknown): unknown[] {
  const list = [first]
  list.length = 2 ** 32 - 1
  return list
}

/** A class that says its arrays have two numbers. */
class Two extends Float32Array {
  override get length(): number {
    return 2
  }
}

test('objects that cannot be named are refused all the same', async (t) => {
  const index = await small(t)
  const unnamed = [
    { constructor: { name: Symbol('no text') } },
    {
      get constructor() {
        throw new Error('not to be asked')
      },
    },
    Object.create(null) as object,
    { constructor: null },
  ].map(anything)
  for (const value of unnamed) {
    await fails(t, () => index.search([1, 2], { k: value }), 'ERR_CHASSIS_INVALID_OPTION')
    await fails(t, () => index.searchSync(value), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await fails(t, () => index.get(value), 'ERR_CHASSIS_INVALID_ID')
    await fails(t, () => index.setUserVersion(value), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
})

test('what only looks like a signal or a URL is neither', async (t) => {
  const index = await small(t)
  const signal = anything(Object.create(AbortSignal.prototype))
  await fails(t, () => index.search([1, 2], { signal }), 'ERR_CHASSIS_INVALID_OPTION')
  await fails(t, () => index.add([1, 2], { signal }), 'ERR_CHASSIS_INVALID_OPTION')
  await fails(
    t,
    () => VectorIndex.open(anything(Object.create(URL.prototype))),
    'ERR_CHASSIS_INVALID_ARGUMENT',
  )
  t.is(index.size, 2)
})

test('lists of holes take neither memory nor time', async (t) => {
  const index = await small(t)
  const row = anything(holes([1, 2]))
  const number = anything(holes(1))
  const payload = anything(holes('text'))
  for (const call of [
    () => index.addBatchSync(row),
    () => index.searchBatch(row),
    () => index.searchSync(number),
    () => index.addBatch([[1, 2]], { payloads: payload }),
    () => index.addBatchSync([[1, 2]], { payloads: payload }),
  ]) {
    await fails(t, call, 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  const { message } = await fails(t, () => index.addBatch([[1, 2]], { payloads: payload }), 'ERR_CHASSIS_INVALID_ARGUMENT') // prettier-ignore
  t.is(message, '4294967295 payloads for 1 vectors')
  t.is(index.size, 2)
})

test('ids in a list of holes are refused', async (t) => {
  const index = await small(t)
  const error = await t.throwsAsync(index.delete(anything(holes(1))))
  t.regex(String((error as { code?: string }).code), /^ERR_CHASSIS_INVALID_(ARGUMENT|ID)$/)
})

test('an array is as long as its memory, whatever its class says', async (t) => {
  const index = await small(t)
  for (const lying of [new Two([1, 2, 3]), new Two([1])]) {
    await fails(t, () => index.searchSync(lying), 'ERR_CHASSIS_DIMENSION_MISMATCH')
    await fails(t, () => index.addBatch([lying]), 'ERR_CHASSIS_DIMENSION_MISMATCH')
    await fails(t, () => index.searchBatchSync([lying]), 'ERR_CHASSIS_DIMENSION_MISMATCH')
  }
  class Longer extends Uint8Array {
    override get length(): number {
      return 1
    }
  }
  const id = await index.add({ vector: [5, 6], payload: new Longer([7, 8, 9]) })
  t.deepEqual((await index.get(id))?.payload, new Uint8Array([7, 8, 9]))
})

test('lists that change while they are read are taken as long as they were', async (t) => {
  const index = await small(t)
  const shrinking: number[] = [1, 2]
  Object.defineProperty(shrinking, 0, { get: () => ((shrinking.length = 1), 1), configurable: true })
  await fails(t, () => index.addBatchSync([shrinking]), 'ERR_CHASSIS_INVALID_ARGUMENT')
  const rows: number[][] = [[1, 2]]
  const first = [1, 2]
  Object.defineProperty(first, 0, { get: () => (rows.push([8, 9]), 1) })
  rows[0] = first
  t.deepEqual(index.addBatchSync(rows), [2])
  t.is(index.size, 3)
})

test('memory that goes while the payload is read is missed', async (t) => {
  const index = await small(t)
  for (const writes of [false, true]) {
    const vectors = new Float32Array([5, 6])
    const payload = {
      toJSON() {
        // The batch waits for this one, and would keep a copy of what is gone.
        if (writes) void index.setUserVersion(7)
        structuredClone(vectors.buffer, { transfer: [vectors.buffer] })
        return 'text'
      },
    }
    await fails(t, () => index.addBatch(vectors, { payloads: [payload] }), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  t.is(index.size, 2)
})

test('what a getter or a proxy throws is what the call fails with, and nothing has happened', async (t) => {
  const index = await small(t)
  const mine = new Error('mine')
  const throwing = (): never => {
    throw mine
  }
  const options = anything({
    get k() {
      return throwing()
    },
  })
  const vector = anything(new Proxy([1, 2], { get: throwing }))
  t.is(
    t.throws(() => index.searchSync([1, 2], options)),
    mine,
  )
  t.is(await t.throwsAsync(index.search(vector)), mine)
  t.is(await t.throwsAsync(index.addBatch([vector])), mine)
  t.is(index.size, 2)
})

test('an index that is closed while its options are read is closed', async (t) => {
  for (const close of ['close', 'closeSync'] as const) {
    const index = await small(t)
    const options = {
      get k() {
        void index[close]()
        return 1
      },
    }
    const search = index.search([1, 2], options)
    // `close` lets a call that was made before go on, `closeSync` only one that runs.
    if (close === 'close') t.is((await search.catch(() => undefined))?.length ?? 1, 1)
    else await fails(t, () => search, 'ERR_CHASSIS_CLOSED')
    await fails(t, () => index.search([1, 2]), 'ERR_CHASSIS_CLOSED')
  }
})

test('there is one zero among ids', async (t) => {
  const index = await small(t)
  t.is((await index.get(-0))?.id, 0)
  t.is(index.getSync(-0)?.id, 0)
  t.is(index.getSync(0n)?.id, 0)
  t.is(index.deleteSync([-0]), 1)
  t.is(index.addSync({ id: -0, vector: [1, 2] }), 0)
})

test('a position is a number of a row', async (t) => {
  const rows = (await small(t)).searchSync([1, 2])
  t.deepEqual([rows.at(0)?.id, rows.at(-1)?.id, rows.at(1.9)?.id, rows.at(-0.5)?.id], [0, 1, 1, 0])
  for (const none of [2, -3, Infinity, -Infinity]) t.is(rows.at(none), undefined)
  t.is(rows.at(anything('length'))?.id, 0)
})

test('a message repeats the beginning of a long text, not all of it', async (t) => {
  const index = await small(t)
  const long = 'x'.repeat(1 << 20)
  const open = (options: object) => VectorIndex.open(place(t), { dimensions: 2, ...options })
  for (const [call, code] of [
    [() => index.has(anything(long)), 'ERR_CHASSIS_INVALID_ID'],
    [() => index.addSync({ id: anything(long), vector: [1, 2] }), 'ERR_CHASSIS_INVALID_ID'],
    [() => index.check({ level: anything(long) }), 'ERR_CHASSIS_INVALID_OPTION'],
    [() => open({ metric: long }), 'ERR_CHASSIS_INVALID_OPTION'],
    [() => open({ metric: long.slice(0, 900) }), 'ERR_CHASSIS_INVALID_OPTION'],
    [() => open({ model: long }), 'ERR_CHASSIS_INVALID_OPTION'],
    [() => index.search([1, 2], { k: anything(2n ** 100_000n) }), 'ERR_CHASSIS_INVALID_OPTION'],
  ] as const) {
    const { message } = await fails(t, call, code)
    t.true(message.length < 250, message.slice(0, 300))
  }
})
