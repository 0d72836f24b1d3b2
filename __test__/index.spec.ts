/**
 * What an index does, through both forms of each method.
 */
import test from 'ava'

import { SearchResult, VectorIndex } from '../dist/index.mjs'
import type { Metric } from '../dist/index.mjs'
import { clustered, distance, fails, nearest, place, row } from './support.js'

const METRICS: Metric[] = ['cosine', 'l2', 'ip']

test('four lines: open, add, commit, search', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 3 })
  const id = await index.add([1, 2, 3])
  await index.commit()
  const result = await index.search([1, 2, 3], { k: 5 })
  t.deepEqual([id, ...result.ids], [0, 0])
  t.true(result instanceof SearchResult)
  await index.close()
})

test('each asynchronous method agrees with its synchronous twin', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 4, metric: 'l2' })
  t.is(await index.add({ id: 5, vector: [1, 0, 0, 0], payload: 'five' }), 5)
  t.is(index.addSync({ id: 6, vector: new Float32Array([0, 1, 0, 0]) }), 6)
  t.deepEqual(await index.addBatch([[0, 0, 1, 0]], { ids: [7], payloads: [{ n: 7 }] }), [7])
  t.deepEqual(index.addBatchSync(new Float32Array(8), { payloads: [undefined, null] }), [8, 9])
  const query = [1, 0.1, 0, 0]
  const include = ['payload', 'vector'] as const
  for (const options of [undefined, { k: 2 }, { k: 3, exact: true }, { k: 9, include }, { radius: 0.2 }]) {
    t.deepEqual(await index.search(query, options), index.searchSync(query, options))
    t.deepEqual([index.searchSync(query, options)], index.searchBatchSync([query], options))
    t.deepEqual(await index.searchBatch([query], options), index.searchBatchSync([query], options))
  }
  for (const id of [5, 6, 7, 8, 9, 10]) {
    t.deepEqual(await index.get(id), index.getSync(id))
    t.is(await index.has(id), index.hasSync(id))
    t.is(index.hasSync(id), id < 10)
  }
  t.is(await index.delete([8, 100]), 1)
  t.is(index.deleteSync(9), 1)
  t.is(index.size, 3)
  t.is(await index.commit(), index.commitSync())
  await index.setUserVersion(11)
  t.is(index.userVersion, 11)
  index.setUserVersionSync(2n ** 64n - 1n)
  t.is(index.userVersion, 2n ** 64n - 1n)
  await index.rollback()
  t.is(index.userVersion, 0)
  index.addSync([9, 9, 9, 9])
  index.rollbackSync()
  t.is(index.size, 3)
  t.deepEqual(await index.stats(), index.statsSync())
  t.deepEqual(await index.check(), index.checkSync())
  t.is(await index.refresh(), index.refreshSync())
  await index.close()
})

for (const idType of ['integer', 'string'] as const) {
  test(`a batch gives what its searches give, each with memory of its own: ${idType} ids`, async (t) => {
    const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2', idType })
    for (let i = 0; i < 9; i++) {
      const id = idType === 'string' ? `id ${i}` : 2 ** 52 + i
      await index.add({ id: id as never, vector: [i * i, 1], payload: i % 2 ? { i } : undefined })
    }
    const queries = [
      [0, 1],
      [500, 1],
      [16, 1],
      [30, 1],
    ]
    for (const include of [[], ['vector'], ['payload'], ['payload', 'vector']] as const) {
      // Within 15 of a query are 4, 0, 5 and 3 of the squares.
      const options = { k: 5, radius: 15, include }
      const all = await index.searchBatch(queries, options)
      t.deepEqual(all.map(({ length }) => length), [4, 0, 5, 3]) // prettier-ignore
      const rows = all.map((result) => result.toArray())
      t.deepEqual(rows, queries.map((query) => index.searchSync(query, options).toArray())) // prettier-ignore
      t.deepEqual(index.searchBatchSync(queries, options).map((result) => result.toArray()), rows) // prettier-ignore
      for (const { distances, vectors } of all as SearchResult<'integer', 'vector'>[]) {
        t.is(distances.buffer.byteLength, distances.byteLength)
        t.true(
          (vectors as typeof vectors | undefined)?.every((vector) => vector.buffer.byteLength === 8) ?? true,
        )
      }
    }
    await index.close()
  })
}

for (const metric of METRICS) {
  test(`distances and similarities are those of the definition: ${metric}`, async (t) => {
    const [dims, rows] = [19, clustered(600, 19, 1)]
    const index = await VectorIndex.open(place(t), { dimensions: dims, metric })
    await index.addBatch(rows)
    const similarity = {
      cosine: (d: number) => 1 - d,
      l2: (d: number) => 1 / (1 + d),
      ip: (d: number) => -d,
    }[metric]
    for (let i = 0; i < 20; i++) {
      const query = row(clustered(20, dims, 2), dims, i)
      const result = index.searchSync(query, { k: 15, exact: true })
      nearest(metric, rows, query, 15).forEach(([, expected], rank) => {
        const found = result.at(rank)!
        t.true(Math.abs(found.distance - expected) < 1e-4 * (1 + Math.abs(expected)))
        t.true(Math.abs(distance(metric, query, row(rows, dims, Number(found.id))) - expected) < 1e-4)
        t.true(Math.abs(found.similarity - similarity(found.distance)) < 1e-5)
      })
    }
    await index.close()
  })
}

test('a walk finds what a scan finds', async (t) => {
  const [dims, count] = [24, 12_000]
  const index = await VectorIndex.open(place(t), { dimensions: dims, metric: 'cosine' })
  const rows = clustered(count + 40, dims, 3)
  await index.addBatch(rows.subarray(0, count * dims))
  let found = 0
  const queries = rows.subarray(count * dims)
  const walks = await index.searchBatch(queries, { k: 10, efSearch: 100 })
  walks.forEach((walk, i) => {
    const scan = index.searchSync(row(queries, dims, i), { k: 10, exact: true })
    t.is(walk.length, 10)
    found += walk.ids.filter((id) => scan.ids.includes(id)).length
  })
  t.true(found / 400 > 0.95, `recall ${found / 400}`)
  await index.close()
})

test('vectors may be given in every documented form', async (t) => {
  const rows = clustered(30, 5, 5)
  const list = Array.from({ length: 30 }, (_, i) => row(rows, 5, i))
  const forms = [rows, list, list.map((v) => [...v]), list.map((v, i) => (i % 2 ? v : [...v]))]
  const shared = new Float32Array(new SharedArrayBuffer(rows.byteLength))
  shared.set(rows)
  for (const form of [...forms, shared]) {
    const index = await VectorIndex.open(place(t), { dimensions: 5, metric: 'l2' })
    t.deepEqual(
      await index.addBatch(form),
      Array.from({ length: 30 }, (_, i) => i),
    )
    t.deepEqual(index.getSync(29)?.vector, row(rows, 5, 29))
    t.is(index.searchBatchSync(form).length, 30)
    await index.close()
  }
})

test('get returns the very bits', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 5, metric: 'cosine' })
  const vector = new Float32Array([1e-30, -0, 1e-40, 3, 1e9])
  const id = await index.add(vector)
  const stored = await index.get(id)
  t.deepEqual(new Uint32Array(stored!.vector.buffer), new Uint32Array(vector.buffer))
  t.is(await index.get(99), undefined)
  await index.close()
})

test('integer ids: numbers where exact, bigints above', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const big = 2n ** 64n - 4n
  const ids = await index.addBatch([[0], [1], [2], [3]], { ids: [7n, 2 ** 53 - 1, 2n ** 53n, big] })
  t.deepEqual(ids, [7, 2 ** 53 - 1, 2n ** 53n, big])
  t.deepEqual(index.searchSync([0]).ids, ids)
  t.deepEqual((await index.search([0])).ids, ids)
  t.is((await index.get(7n))?.id, 7)
  t.true(index.hasSync(big) && index.hasSync(BigInt(2 ** 53 - 1)) && !index.hasSync(2n ** 53n + 1n))
  t.deepEqual(await index.addBatch([[4], [5]], { ids: new BigUint64Array([8n, 9n]) }), [8, 9])
  t.is(await index.delete(new BigUint64Array([8n, big])), 2)
  t.is(await index.add([6]), 2n ** 64n - 3n, 'one past the largest ever used')
  await index.close()
})

test('string ids', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 2, metric: 'l2', idType: 'string' })
  t.is(await index.add({ id: 'a/ä/📚', vector: [0, 0], payload: 1 }), 'a/ä/📚')
  t.deepEqual(await index.addBatch([[1, 0], [2, 0]], { ids: ['b', 'c'.repeat(1024)] }), ['b', 'c'.repeat(1024)]) // prettier-ignore
  t.deepEqual(index.searchSync([0, 0], { k: 2 }).ids, ['a/ä/📚', 'b'])
  const [first] = await index.search([0, 0], { k: 1, include: ['payload', 'vector'] })
  t.deepEqual(first, { id: 'a/ä/📚', distance: 0, similarity: 1, vector: new Float32Array(2), payload: 1 })
  t.is(await index.delete(['b', 'nobody']), 1)
  t.deepEqual([index.hasSync('b'), index.hasSync('a/ä/📚')], [false, true])
  await fails(t, () => index.add([1, 1]), 'ERR_CHASSIS_INVALID_ID')
  await index.close()
})

test('payloads: JSON values and bytes come back as they went in', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const payloads = [
    { title: 'ä', nested: [1, null, { x: true }] },
    ...['', 'text', 0, -1.5, true, null, [], {}],
    ...[new Uint8Array(), new Uint8Array([0]), new Uint8Array([123, 125]), new Uint8Array([0xff, 0])],
  ]
  const vectors = payloads.map((_, i) => [i])
  await index.addBatch(vectors, { payloads })
  for (let i = 0; i < payloads.length; i++) t.deepEqual((await index.get(i))?.payload, payloads[i])
  const result = index.searchSync([0], { k: 100, include: ['payload'] })
  t.deepEqual(result.payloads, payloads)
  const none = await index.add([0.5])
  t.false('payload' in (await index.get(none))!)
  t.is(index.addSync({ vector: [50], payload: new Date(0) }), none as number + 1) // prettier-ignore
  t.is((await index.get<string>(index.size - 1))?.payload, '1970-01-01T00:00:00.000Z')
  const buffer = await index.add({ vector: [60], payload: Buffer.from('hi') })
  t.deepEqual((await index.get(buffer))?.payload, new Uint8Array([104, 105]))
  await index.close()
})

test('results: columns, rows, positions, JSON', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  await index.addBatch([[0], [1], [3]])
  const result = await index.search([0], { k: 3 })
  t.deepEqual([result.ids, [...result.distances], [...result.similarities]], [[0, 1, 2], [0, 1, 3], [1, 0.5, 0.25]]) // prettier-ignore
  t.deepEqual([...result], result.toArray())
  t.deepEqual(result.at(-1), { id: 2, distance: 3, similarity: 0.25 })
  t.deepEqual([result.at(3), result.at(-4)], [undefined, undefined])
  t.is(JSON.stringify(result.toArray()), JSON.stringify(result))
  t.deepEqual([result.vectors, result.payloads], [undefined, undefined])
  t.is((await index.search([0], { k: 0 })).length, 0)
  t.is((await index.search([0], { k: 1_000_000 })).length, 3)
  t.is((await index.search([0], { radius: 1 })).length, 2)
  await index.close()
  t.is(result.at(1)?.similarity, 0.5, 'results outlive their index')
})

test('more results than the reused buffers hold', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
  const rows = clustered(500, 2, 6)
  await index.addBatch(rows)
  const all = index.searchSync([0, 0], { k: 500 })
  t.deepEqual(all, await index.search([0, 0], { k: 500 }))
  t.is(new Set(all.ids).size, 500)
  t.deepEqual(index.searchSync([0, 0], { k: 3 }).ids, all.ids.slice(0, 3))
  await index.close()
})

test('arguments may be changed as soon as a call has returned', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 2, metric: 'l2' })
  const [vector, batch, ids] = [new Float32Array([1, 1]), new Float32Array(1_000).fill(2), [1_000n]]
  const stated = Array.from({ length: 500 }, (_, i) => BigInt(i + 10))
  const packed = BigUint64Array.from(stated)
  // The first starts at once, the others wait for their turn.
  const calls = [index.addBatch(batch, { ids: packed }), index.add({ id: 1, vector }), index.delete(ids)]
  const search = index.search(vector, { k: 1 })
  batch.fill(9)
  packed.fill(5n)
  vector.fill(9)
  ids[0] = 1n
  t.deepEqual(await Promise.all(calls), [stated.map(Number), 1, 0])
  await search
  t.deepEqual([...index.getSync(1)!.vector, ...index.getSync(509)!.vector], [1, 1, 2, 2])
  await index.close()
})

test('writes run in the order they were called', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 1, metric: 'l2' })
  const [, number, , , deleted] = await Promise.all([
    index.addBatch(new Float32Array(2_000)),
    index.commit(),
    index.add({ id: 5_000, vector: [1] }),
    index.setUserVersion(3),
    index.delete([5_000, 0]),
    index.rollback(),
    index.add({ id: 5_000, vector: [2] }),
  ])
  t.is(deleted, 2)
  t.is(number, index.statsSync().commit)
  t.deepEqual([index.size, index.userVersion], [2_001, 0])
  t.deepEqual([...index.getSync(5_000)!.vector], [2])
  await index.close()
})

test('a failed write does not disturb the next', async (t) => {
  const index = await VectorIndex.open(place(t), { dimensions: 1, metric: 'l2' })
  const bad = index.add([Number.NaN])
  const good = index.add([1])
  await fails(t, () => bad, 'ERR_CHASSIS_INVALID_VECTOR')
  t.is(await good, 0)
  await index.close()
})

test('stats and properties', async (t) => {
  const path = place(t)
  const options = {
    dimensions: 7,
    metric: 'ip',
    idType: 'string',
    m: 8,
    efConstruction: 50,
    model: 'm-1',
  } as const
  const index = await VectorIndex.open(path, { ...options, m0: 24, quantization: 'none' })
  const { path: where, dimensions, metric, idType, readOnly } = index
  t.deepEqual({ where, dimensions, metric, idType, readOnly }, { where: path, dimensions: 7, metric: 'ip', idType: 'string', readOnly: false }) // prettier-ignore
  await index.addBatch(clustered(10, 7, 7), { ids: [...'abcdefghij'] })
  await index.delete('a')
  t.like(await index.stats(), {
    ...options,
    m0: 24,
    quantization: 'none',
    count: 9,
    deleted: 1,
    readOnly: false,
  })
  t.regex((await index.stats()).kernel, /^(vnni|avx2|neon|scalar)$/)
  await index.close()
})

test('stats tell of codes, recall and huge pages', async (t) => {
  const path = place(t)
  const index = await VectorIndex.open(path, { dimensions: 64, metric: 'l2', m: 8, efConstruction: 32 })
  await index.addBatch(clustered(2_000, 64, 3))
  const few = await index.stats()
  t.deepEqual([few.codes, few.recall, few.hugePageBytes], [undefined, undefined, undefined])
  await index.addBatch(clustered(100, 64, 4))
  await index.commit()
  const { codes, recall } = await index.stats()
  t.deepEqual(codes, {
    generation: 1,
    kinds: ['4bit'],
    components: 64,
    projects: false,
    fittedRows: 2_100,
    indexRows: 2_100,
    drift: 0,
  })
  t.is(recall?.fittedRows, 2_100)
  t.true([0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995].includes(recall?.highest ?? 0))
  await index.addBatch(clustered(1_000, 64, 5).map((x) => x + 20))
  const drift = index.statsSync().codes?.drift ?? 0
  t.true(drift > 1, `${drift}`)
  const { hugePageBytes = -1, mappedBytes } = await index.stats({ hugePages: true })
  t.true(hugePageBytes >= 0 && hugePageBytes <= mappedBytes, `${hugePageBytes} of ${mappedBytes}`)
  t.is(typeof index.statsSync({ hugePages: true }).hugePageBytes, 'number')
  await fails(t, () => index.stats({ hugePages: 1 as never }), 'ERR_CHASSIS_INVALID_OPTION')
  await fails(t, () => index.statsSync({ huge: true } as never), 'ERR_CHASSIS_INVALID_OPTION')
  await index.close()
})

test('warm reads the file in and changes no answer', async (t) => {
  const path = place(t)
  const rows = clustered(3_000, 16, 3)
  const index = await VectorIndex.open(path, { dimensions: 16, metric: 'l2' })
  await index.addBatch(rows)
  t.deepEqual(await index.warm(), { bytes: 0 })
  await index.commit()
  const before = await index.searchBatch(rows.subarray(0, 160), { exact: true })
  await index.close()
  const reader = await VectorIndex.open(path, { readOnly: true })
  const { bytes } = await reader.warm()
  t.true(bytes > rows.byteLength, `${bytes} bytes`)
  t.deepEqual(reader.warmSync(), { bytes })
  t.deepEqual(await reader.searchBatch(rows.subarray(0, 160), { exact: true }), before)
  await reader.close()
})
