/**
 * The bad-input matrix through JavaScript: each case has its code, rejects where the method is asynchronous, and has
 * no effect.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { CHASSIS_ERROR_CODES, ChassisError, VectorIndex } from '../dist/index.mjs'
import type { ChassisErrorCode, Metric, OpenOptions, SearchOptions, Vector } from '../dist/index.mjs'
import { clustered, fails, place, rejects } from './support.js'

const native = createRequire(import.meta.url)('../index.js') as {
  errorCodes(): string[]
  __panic(): Promise<void>
  __panicSync(): void
}

/** A committed index of 300 vectors of 4 dimensions. */
async function sample(t: ExecutionContext, metric: Metric = 'l2', path = place(t)): Promise<VectorIndex> {
  const index = await VectorIndex.open(path, { dimensions: 4, metric })
  await index.addBatch(clustered(300, 4, 1))
  await index.commit()
  return index
}

const anything = (value: unknown): never => value as never
const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

test('the codes are the core’s, plus the one for a missing library', (t) => {
  const own: ChassisErrorCode = 'ERR_CHASSIS_BINDING_NOT_FOUND'
  t.deepEqual([...CHASSIS_ERROR_CODES], [...native.errorCodes(), own])
  const source = readFileSync(new URL('../crates/chassis-core/src/error.rs', import.meta.url), 'utf8')
  const stated = [...source.matchAll(/^ {4}\w+ = "([A-Z_]+)";$/gm)].map((match) => `ERR_CHASSIS_${match[1]}`)
  t.deepEqual(native.errorCodes(), stated)
})

test('an error has a name, a code, a message and its cause', async (t) => {
  const path = join(dirname(place(t)), 'missing.chassis')
  const error = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_NOT_FOUND')
  t.is(error.name, 'ChassisError')
  t.true(error instanceof Error && error.cause instanceof Error)
  t.true(error.message.includes(path), error.message)
  t.false(error.message.includes('ERR_CHASSIS'), error.message)
  t.regex(error.stack ?? '', /^ChassisError: /)
})

test('no panic crosses: it becomes an error, and the process goes on', async (t) => {
  for (const panic of [native.__panic, native.__panicSync]) {
    const error = await t.throwsAsync(async () => panic(), {
      message: /^ERR_CHASSIS_INTERNAL: .*a deliberate panic/,
    })
    t.truthy(error)
  }
})

test('vectors: wrong dimensions, NaN, infinities, zero under cosine', async (t) => {
  const index = await sample(t, 'cosine')
  const cases: [Vector, ChassisErrorCode, ChassisErrorCode][] = [
    [[1, 2, 3], 'ERR_CHASSIS_DIMENSION_MISMATCH', 'ERR_CHASSIS_DIMENSION_MISMATCH'],
    [[], 'ERR_CHASSIS_DIMENSION_MISMATCH', 'ERR_CHASSIS_DIMENSION_MISMATCH'],
    [new Float32Array(5), 'ERR_CHASSIS_DIMENSION_MISMATCH', 'ERR_CHASSIS_DIMENSION_MISMATCH'],
    [[1, Number.NaN, 3, 4], 'ERR_CHASSIS_INVALID_VECTOR', 'ERR_CHASSIS_INVALID_QUERY'],
    [[1, 2, Number.POSITIVE_INFINITY, 4], 'ERR_CHASSIS_INVALID_VECTOR', 'ERR_CHASSIS_INVALID_QUERY'],
    [[1, 2, 1e300, 4], 'ERR_CHASSIS_INVALID_VECTOR', 'ERR_CHASSIS_INVALID_QUERY'],
    [[0, 0, 0, 0], 'ERR_CHASSIS_ZERO_NORM', 'ERR_CHASSIS_ZERO_NORM'],
    [[1e-42, 0, 0, 0], 'ERR_CHASSIS_ZERO_NORM', 'ERR_CHASSIS_ZERO_NORM'],
  ]
  for (const [vector, stored, asked] of cases) {
    await rejects(t, () => index.add(vector), stored)
    await fails(t, () => index.addSync(vector), stored)
    await rejects(t, () => index.addBatch([[1, 1, 1, 1], vector]), stored)
    await rejects(t, () => index.search(vector), asked)
    await fails(t, () => index.searchSync(vector), asked)
    await rejects(t, () => index.searchBatch([[1, 1, 1, 1], vector]), asked)
  }
  await rejects(t, () => index.addBatch(new Float32Array(7)), 'ERR_CHASSIS_DIMENSION_MISMATCH')
  await rejects(t, () => index.addBatch([[1, 2], [3, 4, 5, 6, 7, 8]]), 'ERR_CHASSIS_DIMENSION_MISMATCH') // prettier-ignore
  const error = await rejects(t, () => index.addBatch([[1, 1, 1, 1], [1, 1, Number.NaN, 1]]), 'ERR_CHASSIS_INVALID_VECTOR') // prettier-ignore
  t.regex(error.message, /vector 1\b.*position 2/)
  t.is(index.size, 300)
  const l2 = await sample(t, 'l2')
  await l2.add([0, 0, 0, 0])
  t.is((await l2.search([0, 0, 0, 0], { k: 1 })).distances[0], 0)
  await Promise.all([index.close(), l2.close()])
})

test('wrong types are refused, never reinterpreted', async (t) => {
  const index = await sample(t)
  const transferred = new Float32Array(4)
  structuredClone(transferred, { transfer: [transferred.buffer] })
  const wrong = [
    ...[new Float64Array(4), new Int32Array(4), new Uint8Array(16), new DataView(new ArrayBuffer(16))],
    ...[new ArrayBuffer(16), Buffer.alloc(16), 'abcd', 7, null, undefined, true, {}, () => 1, new Set([1])],
    ...[['1', '2', '3', '4'], [1, 2, 3, null], [1, 2, 3, 4n], [1, , 3, 4], [[1], [2], [3], [4]], transferred], // prettier-ignore
  ]
  for (const value of wrong) {
    await rejects(t, () => index.add({ vector: anything(value) }), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await rejects(t, () => index.search(anything(value)), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await fails(t, () => index.searchSync(anything(value)), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await rejects(t, () => index.addBatch(anything([value])), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await rejects(t, () => index.searchBatch(anything([value])), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  for (const value of [new Float64Array(8), 'text', null, undefined, {}, [1, 2, 3, 4], transferred]) {
    await rejects(t, () => index.addBatch(anything(value)), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await fails(t, () => index.searchBatchSync(anything(value)), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  const error = await rejects(
    t,
    () => index.search(anything(new Float64Array(4))),
    'ERR_CHASSIS_INVALID_ARGUMENT',
  )
  t.regex(error.message, /Float64Array.*Float32Array\.from/)
  t.is(index.size, 300)
  t.deepEqual(await index.addBatch([]), [])
  t.deepEqual(await index.searchBatch(new Float32Array()), [])
  await index.close()
})

test('k, efSearch, radius and the other options of a search', async (t) => {
  const index = await sample(t)
  const query = [0, 0, 0, 0]
  t.is((await index.search(query, { k: 0 })).length, 0)
  t.is((await index.search(query, { k: 301 })).length, 300)
  t.is((await index.search(query, { k: 50, efSearch: 1 })).length, 50)
  const wrong: unknown[] = [
    ...[
      { k: -1 },
      { k: 1.5 },
      { k: Number.NaN },
      { k: 2 ** 53 },
      { k: 2 ** 30 },
      { k: 10n },
      { k: '10' },
      { k: null },
    ],
    ...[
      { efSearch: 0 },
      { efSearch: -1 },
      { efSearch: 2 ** 40 },
      { efSearch: 0.5 },
      { exact: 1 },
      { exact: 'yes' },
    ],
    ...[
      { radius: Number.NaN },
      { radius: '1' },
      { include: 'vector' },
      { include: ['vectors'] },
      { signal: {} },
    ],
    ...[{ ef: 10 }, { K: 10 }, { threads: 2 }],
  ]
  for (const options of wrong) {
    await rejects(t, () => index.search(query, options as SearchOptions), 'ERR_CHASSIS_INVALID_OPTION')
    await fails(t, () => index.searchSync(query, options as SearchOptions), 'ERR_CHASSIS_INVALID_OPTION')
  }
  await rejects(t, () => index.searchBatch([query], { threads: 0 }), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => index.search(query, anything(5)), 'ERR_CHASSIS_INVALID_ARGUMENT')
  const unknown = await rejects(
    t,
    () => index.search(query, anything({ efsearch: 9 })),
    'ERR_CHASSIS_INVALID_OPTION',
  )
  t.regex(unknown.message, /"efsearch".*efSearch/)
  await rejects(t, () => index.check({ level: anything('deep') }), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => index.commit(anything({ sync: true })), 'ERR_CHASSIS_INVALID_OPTION')
  await index.close()
})

test('ids: taken, twice in a batch, of the wrong type or size', async (t) => {
  const index = await sample(t)
  const vector = [1, 2, 3, 4]
  await rejects(t, () => index.add({ id: 7, vector }), 'ERR_CHASSIS_DUPLICATE_ID')
  await rejects(t, () => index.addBatch([vector, vector], { ids: [900, 900] }), 'ERR_CHASSIS_DUPLICATE_ID')
  await rejects(t, () => index.addBatch([vector, vector], { ids: [900, 7] }), 'ERR_CHASSIS_DUPLICATE_ID')
  for (const id of [-1, 1.5, 2 ** 53, Number.NaN, -1n, 2n ** 64n, 2n ** 64n - 1n, 'a', null, {}, [], true]) {
    await rejects(t, () => index.add({ id: anything(id), vector }), 'ERR_CHASSIS_INVALID_ID')
    await rejects(t, () => index.addBatch([vector], { ids: anything([id]) }), 'ERR_CHASSIS_INVALID_ID')
    await rejects(t, () => index.get(anything(id)), 'ERR_CHASSIS_INVALID_ID')
    await fails(t, () => index.hasSync(anything(id)), 'ERR_CHASSIS_INVALID_ID')
    if (!Array.isArray(id)) await rejects(t, () => index.delete(anything(id)), 'ERR_CHASSIS_INVALID_ID')
  }
  await rejects(t, () => index.addBatch([vector], { ids: [] }), 'ERR_CHASSIS_INVALID_ARGUMENT')
  await rejects(t, () => index.addBatch([vector], { payloads: [1, 2] }), 'ERR_CHASSIS_INVALID_ARGUMENT')
  await rejects(t, () => index.addBatch([vector], { ids: anything('9') }), 'ERR_CHASSIS_INVALID_ID')
  t.is(await index.get(900), undefined)
  t.is(await index.delete([900, 901]), 0)
  t.is(index.size, 300)
  const words = await VectorIndex.open(place(t), { dimensions: 4, idType: 'string' })
  for (const id of ['', 'x'.repeat(1025), '\ud800', 1, 1n, null]) {
    await rejects(t, () => words.add({ id: anything(id), vector }), 'ERR_CHASSIS_INVALID_ID')
  }
  await rejects(t, () => words.addBatch([vector]), 'ERR_CHASSIS_INVALID_ID')
  await Promise.all([index.close(), words.close()])
})

test('payloads, versions and records that cannot be stored', async (t) => {
  const index = await sample(t)
  const vector = [1, 2, 3, 4]
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  const wrong = [
    cycle,
    1n,
    () => 1,
    Symbol('s'),
    new Map(),
    new Float32Array(1),
    new ArrayBuffer(1),
    { n: 1n },
  ]
  for (const payload of wrong) {
    await rejects(t, () => index.add({ vector, payload: anything(payload) }), 'ERR_CHASSIS_INVALID_ARGUMENT')
    await rejects(
      t,
      () => index.addBatch([vector], { payloads: anything([payload]) }),
      'ERR_CHASSIS_INVALID_ARGUMENT',
    )
  }
  const long = new Uint8Array(2 ** 24 + 1)
  await rejects(t, () => index.add({ vector, payload: long }), 'ERR_CHASSIS_INVALID_ARGUMENT')
  await rejects(t, () => index.add(anything({ vector, metadata: {} })), 'ERR_CHASSIS_INVALID_OPTION')
  for (const version of [-1, 1.5, 2 ** 53, 2n ** 64n, '1', null]) {
    await rejects(t, () => index.setUserVersion(anything(version)), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  await rejects(t, () => index.addBatch([vector], { onProgress: anything(1) }), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => index.addBatch([vector], { threads: 0 }), 'ERR_CHASSIS_INVALID_OPTION')
  t.is(index.size, 300)
  t.throws(() => new (VectorIndex as unknown as new () => unknown)(), {
    code: 'ERR_CHASSIS_INVALID_ARGUMENT',
  })
  await index.close()
})

test('options are checked, and compared with the file', async (t) => {
  const index = await sample(t)
  const { path } = index
  await index.close()
  const before = hash(path)
  const differs: OpenOptions[] = [
    ...[
      { dimensions: 5 },
      { metric: 'cosine' as const },
      { idType: 'string' as const },
      { m: 32 },
      { m0: 40 },
    ],
    ...[{ efConstruction: 100 }, { model: 'other' }, { quantization: '8bit' as const }],
  ]
  for (const options of differs) {
    await rejects(t, () => VectorIndex.open(path, options), 'ERR_CHASSIS_OPTION_MISMATCH')
    await fails(
      t,
      () => VectorIndex.openSync(path, { ...options, readOnly: true }),
      'ERR_CHASSIS_OPTION_MISMATCH',
    )
  }
  const invalid: unknown[] = [
    ...[
      { dimensions: 0 },
      { dimensions: 65_536 },
      { dimensions: -1 },
      { dimensions: 1.5 },
      { dimensions: '4' },
    ],
    ...[
      { metric: 'euclid' },
      { metric: 2 },
      { idType: 'uuid' },
      { quantization: '2bit' },
      { m: 1 },
      { m: 65 },
    ],
    ...[
      { m0: 3 },
      { efConstruction: 0 },
      { model: 'x'.repeat(257) },
      { model: '\udfff' },
      { lockTimeoutMs: -1 },
    ],
    ...[
      { readOnly: 'yes' },
      { create: 'always' },
      { create: true },
      { readOnly: true, create: 'new' },
      { dim: 4 },
    ],
  ]
  for (const options of invalid) {
    await rejects(t, () => VectorIndex.open(path, options as OpenOptions), 'ERR_CHASSIS_INVALID_OPTION')
    await fails(t, () => VectorIndex.openSync(path, options as OpenOptions), 'ERR_CHASSIS_INVALID_OPTION')
  }
  t.is(hash(path), before)
  const same = await VectorIndex.open(path, { dimensions: 4, metric: 'l2', idType: 'integer', m: 16 })
  t.is(same.size, 300)
  await same.close()
})

test('paths', async (t) => {
  const path = place(t)
  const folder = dirname(path)
  const missing = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_NOT_FOUND')
  t.is(missing.message, `${path} does not exist; to create it, state dimensions`)
  await rejects(t, () => VectorIndex.open(path, { readOnly: true }), 'ERR_CHASSIS_NOT_FOUND')
  await rejects(t, () => VectorIndex.open(path, { create: 'never', dimensions: 4 }), 'ERR_CHASSIS_NOT_FOUND')
  await rejects(t, () => VectorIndex.open(path, { create: 'new' }), 'ERR_CHASSIS_INVALID_OPTION')
  await rejects(t, () => VectorIndex.open(folder, { dimensions: 4 }), 'ERR_CHASSIS_NOT_A_FILE')
  const nowhere = join(folder, 'no/such/x')
  const { message } = await rejects(
    t,
    () => VectorIndex.open(nowhere, { dimensions: 4 }),
    'ERR_CHASSIS_NOT_FOUND',
  )
  t.is(message, `cannot create ${nowhere}: its folder does not exist`)
  for (const bad of ['', 'a\0b', `${folder}/${'x'.repeat(5_000)}`, '\ud800']) {
    await rejects(t, () => VectorIndex.open(bad, { dimensions: 4 }), 'ERR_CHASSIS_INVALID_PATH')
  }
  await rejects(t, () => VectorIndex.open(new URL('https://example.com/x')), 'ERR_CHASSIS_INVALID_PATH')
  for (const bad of [undefined, null, 7, Buffer.from(path)]) {
    await rejects(t, () => VectorIndex.open(anything(bad), { dimensions: 4 }), 'ERR_CHASSIS_INVALID_ARGUMENT')
  }
  t.deepEqual(readdirSync(folder), [])
  const url = pathToFileURL(join(folder, 'ein Index 📚.chassis'))
  await (await VectorIndex.open(url, { dimensions: 4, create: 'new' })).close()
  await rejects(
    t,
    () => VectorIndex.open(url, { dimensions: 4, create: 'new' }),
    'ERR_CHASSIS_ALREADY_EXISTS',
  )
  t.deepEqual(readdirSync(folder), ['ein Index 📚.chassis'])
  if (process.platform === 'linux')
    await rejects(t, () => VectorIndex.open('/dev/null'), 'ERR_CHASSIS_NOT_A_FILE')
})

test('foreign files are refused and never written', async (t) => {
  const path = place(t)
  const text = Buffer.from('forty bytes of text that are no index..')
  for (const bytes of [Buffer.alloc(0), text, Buffer.alloc(50_000), Buffer.alloc(50_000, 0xa5)]) {
    writeFileSync(path, bytes)
    const { message } = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_NOT_A_DATABASE')
    t.true(message.includes(path), message)
    await rejects(t, () => VectorIndex.open(path, { readOnly: true }), 'ERR_CHASSIS_NOT_A_DATABASE')
    if (bytes.length > 0) {
      await rejects(t, () => VectorIndex.open(path, { dimensions: 4 }), 'ERR_CHASSIS_NOT_A_DATABASE')
    }
    t.deepEqual(readFileSync(path), bytes)
  }
  t.is(readdirSync(dirname(path)).length, 1)
})

test('newer, truncated and damaged files', async (t) => {
  const index = await sample(t)
  const { path } = index
  await index.close()
  const good = readFileSync(path)
  const newer = Buffer.from(good)
  newer.writeUInt16LE(99, 16)
  writeFileSync(path, newer)
  await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_UNSUPPORTED_VERSION')
  writeFileSync(path, good)
  truncateSync(path, 20_000)
  const error = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_TRUNCATED')
  t.true(error instanceof ChassisError)
  // Every block past the header is damaged in turn; whatever still opens must say so or must not be harmed.
  let noticed = 0
  for (let at = 4_096; at < good.length; at += 4_096) {
    const bytes = Buffer.from(good)
    bytes.fill(0x5a, at, at + 4_096)
    writeFileSync(path, bytes)
    let damaged: VectorIndex | undefined
    try {
      damaged = await VectorIndex.open(path, { readOnly: true })
      const report = await damaged.check()
      if (!report.ok) noticed++
      for (const problem of report.problems)
        t.deepEqual(Object.keys(problem).sort(), ['code', 'message', 'where'])
    } catch (thrown) {
      t.true(thrown instanceof ChassisError, String(thrown))
      noticed++
    }
    await damaged?.close()
  }
  t.true(noticed > 0)
})

test('a second writer, a read-only handle, a closed one', async (t) => {
  const index = await sample(t)
  const { path } = index
  const busy = await rejects(t, () => VectorIndex.open(path), 'ERR_CHASSIS_WRITER_BUSY')
  t.true(busy.message.includes(String(process.pid)), busy.message)
  await rejects(t, () => VectorIndex.open(path, { lockTimeoutMs: 20 }), 'ERR_CHASSIS_WRITER_BUSY')
  const reader = await VectorIndex.open(path, { readOnly: true })
  const vector = [1, 2, 3, 4]
  const writes: ((handle: VectorIndex) => Promise<unknown>)[] = [
    (handle) => handle.add(vector),
    (handle) => handle.addBatch([vector]),
    (handle) => handle.delete(1),
    (handle) => handle.commit(),
    (handle) => handle.rollback(),
    (handle) => handle.setUserVersion(1),
  ]
  for (const write of writes) await rejects(t, () => write(reader), 'ERR_CHASSIS_READ_ONLY')
  await fails(t, () => reader.addSync(vector), 'ERR_CHASSIS_READ_ONLY')
  await Promise.all([index.close(), reader.close()])
  const reads: ((handle: VectorIndex) => Promise<unknown>)[] = [
    (handle) => handle.search(vector),
    (handle) => handle.searchBatch([vector]),
    (handle) => handle.get(1),
    (handle) => handle.has(1),
    (handle) => handle.stats(),
    (handle) => handle.warm(),
    (handle) => handle.check(),
    (handle) => handle.refresh(),
  ]
  for (const call of [...writes, ...reads]) await rejects(t, () => call(index), 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.size, 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.userVersion, 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.searchSync(vector), 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.statsSync(), 'ERR_CHASSIS_CLOSED')
  await fails(t, () => index.warmSync(), 'ERR_CHASSIS_CLOSED')
})
