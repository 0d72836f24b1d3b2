/**
 * Arguments at the edge: memory that is gone, lists with holes, user code that runs inside a call, and options of
 * the other form of a method. Each is refused by name or taken as it was when the call was made.
 */
import test from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import type { ChassisError } from '../dist/index.mjs'
import { clustered, fails, place, rejects } from './support.js'

const anything = (value: unknown): never => value as never

/** The array without its memory: the buffer now belongs to another. */
function detached<A extends ArrayBufferView>(array: A): A {
  structuredClone(array, { transfer: [array.buffer as ArrayBuffer] })
  return array
}

type View<A> = new (buffer: ArrayBuffer, offset: number, length: number) => A

/** Four elements of a buffer that was cut after two of them. */
function outOfBounds<A extends { fill(value: never): A; BYTES_PER_ELEMENT: number }>(
  Of: View<A>,
  value: unknown,
): A {
  const size = (Of as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: object,
  ) => ArrayBuffer & { resize(to: number): void }
  const buffer = new Resizable(4 * size, { maxByteLength: 4 * size })
  const array = new Of(buffer, 0, 4).fill(value as never)
  buffer.resize(2 * size)
  return array
}

test('arrays whose memory is gone are refused, not taken for empty', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 4, metric: 'l2' })
  await index.addBatch(clustered(10, 4, 1))
  const code = 'ERR_CHASSIS_INVALID_ARGUMENT'
  for (const gone of [detached(new Float32Array(4)), outOfBounds(Float32Array, 1)]) {
    for (const of of [gone, [gone]] as const) {
      await rejects(t, () => index.addBatch(of), code)
      await fails(t, () => index.addBatchSync(of), code)
      await rejects(t, () => index.searchBatch(of), code)
    }
    await rejects(t, () => index.add(gone), code)
    await rejects(t, () => index.search(gone), code)
    const error = await fails(t, () => index.searchSync(gone), code)
    t.regex(error.message, /^query .*transferred.*resized/)
  }
  for (const gone of [detached(new BigUint64Array(2)), outOfBounds(BigUint64Array, 1n)]) {
    await rejects(t, () => index.delete(gone), code)
    await fails(t, () => index.deleteSync(gone), code)
    await rejects(t, () => index.addBatch([], { ids: gone }), code)
  }
  for (const payload of [detached(new Uint8Array(4)), outOfBounds(Uint8Array, 1)]) {
    await rejects(t, () => index.add({ vector: [1, 2, 3, 4], payload }), code)
    await rejects(t, () => index.addBatch([[1, 2, 3, 4]], { payloads: [payload] }), code)
  }
  t.deepEqual(await index.addBatch(new Float32Array()), [])
  t.is(await index.delete(new BigUint64Array()), 0)
  const empty = await index.add({ vector: [1, 2, 3, 4], payload: new Uint8Array() })
  t.deepEqual(index.getSync(empty)?.payload, new Uint8Array())
  t.is(index.size, 11)
  await index.close()
})

test('lists that only claim to be long, and lists with holes', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 4, metric: 'l2' })
  const long: never[] = []
  long.length = 2 ** 32 - 1
  await rejects(t, () => index.addBatch(long), 'ERR_CHASSIS_INVALID_ARGUMENT')
  await fails(t, () => index.searchBatchSync(long), 'ERR_CHASSIS_INVALID_ARGUMENT')
  await rejects(t, () => index.addBatch([[1, 2, 3, 4]], { ids: long }), 'ERR_CHASSIS_INVALID_ID')
  await rejects(t, () => index.delete([, 5] as number[]), 'ERR_CHASSIS_INVALID_ID') // prettier-ignore
  const words = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2', idType: 'string' })
  await rejects(t, () => words.addBatch([[1], [2]], { ids: ['a', ,] as string[] }), 'ERR_CHASSIS_INVALID_ID') // prettier-ignore
  await rejects(t, () => words.delete([, 'a'] as string[]), 'ERR_CHASSIS_INVALID_ID') // prettier-ignore
  await fails(t, () => words.deleteSync(long), 'ERR_CHASSIS_INVALID_ID')
  await Promise.all([index.close(), words.close()])
})

test('a payload that throws anything is refused, with what it threw as the cause', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  for (const thrown of [null, undefined, 'text', new RangeError('from toJSON')]) {
    const payload = {
      toJSON(): never {
        throw thrown
      },
    }
    const code = 'ERR_CHASSIS_INVALID_ARGUMENT'
    const error = await rejects(t, () => index.add({ vector: [1], payload }), code)
    t.is(error.cause, thrown)
    t.regex(error.message, thrown instanceof Error ? /from toJSON$/ : new RegExp(`${String(thrown)}"?$`))
    await fails(t, () => index.addBatchSync([[1]], { payloads: [payload] }), code)
  }
  await index.close()
})

test('URLs that name no file of this machine', async (t) => {
  for (const url of ['file:///a%2Fb', ...(process.platform === 'win32' ? [] : ['file://host/x'])]) {
    const error = await rejects(
      t,
      () => VectorIndex.open(new URL(url), { dimensions: 1 }),
      'ERR_CHASSIS_INVALID_PATH',
    )
    t.true(error.cause instanceof TypeError)
    await fails(t, () => VectorIndex.openSync(new URL(url)), 'ERR_CHASSIS_INVALID_PATH')
  }
})

test('a write called from inside a call does not see its arguments change', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
  const [vector, ids] = [new Float32Array([1, 1]), BigUint64Array.of(7_000n)]
  let inner: Promise<unknown> | undefined
  const payload = {
    toJSON() {
      inner ??= index.addBatch(clustered(500, 2, 1))
      return 'inside'
    },
  }
  const outer = index.addBatch(vector, { ids, payloads: [payload] })
  vector.fill(9)
  ids.fill(9_000n)
  t.deepEqual(await outer, [7_000])
  await inner
  t.deepEqual([...(index.getSync(7_000)?.vector ?? [])], [1, 1])
  await index.close()
})

test('a blocking call refuses what only its asynchronous twin can heed', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 1, metric: 'l2' })
  await index.commit()
  const signal = AbortSignal.abort()
  const calls: ((options: never) => unknown)[] = [
    (options) => VectorIndex.openSync(path, Object.assign({ readOnly: true }, options)),
    (options) => index.searchSync([1], options),
    (options) => index.searchBatchSync([[1]], options),
    (options) => index.addBatchSync([[1]], options),
    (options) => index.checkSync(options),
    (options) => index.statsSync(options),
    (options) => index.compactSync(options),
  ]
  for (const call of calls) {
    const error = await fails(t, () => call(anything({ signal })), 'ERR_CHASSIS_INVALID_OPTION')
    t.regex(error.message, /unknown option "signal"/)
    t.notRegex(error.message, /known are:.*(signal|onProgress)/)
    await fails(t, () => call(anything({ onProgress() {} })), 'ERR_CHASSIS_INVALID_OPTION')
  }
  t.is(index.size, 0)
  await index.close()
})

test.serial('a property that somebody added to every object is no option', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const everything = Object.prototype as Record<string, unknown>
  everything['added'] = 1
  try {
    t.is(index.addSync({ vector: [1] }), 0)
    t.is(index.searchSync([1], { k: 1 }).length, 1)
  } finally {
    delete everything['added']
  }
  await index.close()
})

test('messages name what was wrong', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const cases: [call: () => unknown, message: RegExp][] = [
    [
      () => index.addSync(anything({ vector: [1], foo: 1 })),
      /unknown field of a record "foo".*id, vector, payload/,
    ],
    [() => index.addSync(anything(new ArrayBuffer(4))), /not ArrayBuffer/],
    [() => index.addSync(anything(new SharedArrayBuffer(4))), /not SharedArrayBuffer/],
    [() => index.searchSync([1], { efSearch: -1 }), /efSearch must be a positive whole number, not -1/],
    [() => index.searchSync([1], { k: -1 }), /k must be a whole number from 0 up, not -1/],
    [() => index.searchBatchSync([[1]], { threads: 0 }), /threads must be at least 1, not 0/],
    [
      () => VectorIndex.openSync('x', { dimensions: 1.5 }),
      /dimensions must be a positive whole number, not 1.5/,
    ],
    [
      () => VectorIndex.openSync('x', { lockTimeoutMs: -1 }),
      /lockTimeoutMs must be a whole number from 0 up/,
    ],
  ]
  for (const [call, message] of cases) {
    const error = t.throws(call) as ChassisError
    t.regex(error.message, message)
  }
  await index.close()
})

test('a handle that is posted arrives without what makes it one', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const copy = structuredClone(index)
  t.false(copy instanceof VectorIndex)
  t.deepEqual(Object.keys(copy).sort(), ['dimensions', 'idType', 'metric', 'path', 'readOnly'])
  await index.close()
})
