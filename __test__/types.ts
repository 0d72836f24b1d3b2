/**
 * The types as users meet them: compiled by `tsc`, never run. Each `Same` fails to compile when a type drifts, and
 * each `@ts-expect-error` when something wrong is accepted.
 */
import { CHASSIS_ERROR_CODES, ChassisError, SearchResult, VectorIndex } from '../dist/index.mjs'
import type {
  ChassisErrorCode,
  CheckReport,
  CompactReport,
  IdOf,
  OpenOptions,
  Payload,
  SearchRow,
  Stats,
  StoredRecord,
  WarmReport,
} from '../dist/index.mjs'

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false
const same = <T extends true>(): T | undefined => undefined

type IntegerId = number | bigint

export async function integers(path: string | URL): Promise<void> {
  const index = await VectorIndex.open(path, { dimensions: 3, metric: 'l2' })
  same<Same<typeof index, VectorIndex<'integer'>>>()
  same<Same<typeof index.idType, 'integer'>>()
  same<Same<typeof index.metric, 'cosine' | 'l2' | 'ip'>>()
  const id = await index.add([1, 2, 3])
  same<Same<typeof id, IntegerId>>()
  const ids = await index.addBatch(new Float32Array(6), { ids: [1, 2n], payloads: [{ a: 1 }, undefined] })
  same<Same<typeof ids, IntegerId[]>>()
  await index.addBatch([[1, 2, 3]], { ids: new BigUint64Array(1), onProgress: (done, total) => done / total })
  const frozen: readonly (readonly number[])[] = [[1, 2, 3]]
  await index.addBatch(frozen)
  same<Same<Awaited<ReturnType<typeof index.commit>>, number>>()
  same<Same<Awaited<ReturnType<typeof index.stats>>, Stats>>()
  same<Same<Awaited<ReturnType<typeof index.warm>>, WarmReport>>()
  same<Same<Awaited<ReturnType<typeof index.compact>>, CompactReport>>()
  index.compactSync({ threads: 2 }) satisfies CompactReport
  same<Same<Awaited<ReturnType<typeof index.check>>, CheckReport>>()
  const record = await index.get(id)
  same<Same<typeof record, StoredRecord<'integer', Payload> | undefined>>()
  const typed = await index.get<{ title: string }>(7n)
  same<Same<NonNullable<typeof typed>['payload'], { title: string } | undefined>>()
  index.userVersion satisfies number | bigint

  // @ts-expect-error a string id in an index with integer ids
  await index.add({ id: 'a', vector: [1] })
  // @ts-expect-error a misspelled option
  await index.search([1, 2, 3], { efsearch: 10 })
  // @ts-expect-error doubles would be a silent conversion
  await index.search(new Float64Array(3))
  // @ts-expect-error synchronous calls have nothing to abort
  index.searchSync([1, 2, 3], { signal: AbortSignal.timeout(1) })
  // @ts-expect-error nor do they let a callback run
  index.addBatchSync([[1, 2, 3]], { onProgress() {} })
  // @ts-expect-error
  index.compactSync({ onProgress() {} })
  // @ts-expect-error results are not assigned to
  index.dimensions = 4
  // @ts-expect-error indexes are opened, not constructed
  new VectorIndex()
}

export async function strings(path: string): Promise<void> {
  await using index = await VectorIndex.open(path, { dimensions: 3, idType: 'string' })
  same<Same<typeof index, VectorIndex<'string'>>>()
  const id = await index.add({ id: 'a', vector: new Float32Array(3), payload: new Uint8Array(1) })
  same<Same<typeof id, string>>()
  // @ts-expect-error an integer id in an index with string ids
  await index.get(7)
  // @ts-expect-error BigUint64Array holds integer ids
  await index.addBatch([[1, 2, 3]], { ids: new BigUint64Array(1) })
  using reader = VectorIndex.openSync<'string'>(path, { readOnly: true })
  reader.searchSync([1, 2, 3]).ids satisfies readonly IdOf<'string'>[]
}

export async function results(index: VectorIndex): Promise<void> {
  const plain = await index.search([1, 2, 3])
  same<Same<typeof plain, SearchResult<'integer', never>>>()
  same<Same<typeof plain.vectors, undefined>>()
  same<Same<typeof plain.ids, readonly IntegerId[]>>()
  for (const hit of plain) {
    const { id, distance, similarity } = hit
    same<Same<[typeof id, typeof distance, typeof similarity], [IntegerId, number, number]>>()
    // @ts-expect-error vectors were not asked for
    hit.vector
  }
  const both = index.searchSync([1, 2, 3], { k: 5, include: ['vector', 'payload'] })
  same<Same<typeof both.vectors, readonly Float32Array[]>>()
  same<Same<typeof both.payloads, readonly (Payload | undefined)[]>>()
  const row: SearchRow<'integer', 'vector' | 'payload'> | undefined = both.at(0)
  row?.vector satisfies Float32Array | undefined
  const batches = await index.searchBatch([[1, 2, 3]], { include: ['payload'], threads: 2 })
  batches[0]?.payloads satisfies readonly (Payload | undefined)[] | undefined
}

export function errors(error: unknown): string {
  if (!(error instanceof ChassisError)) throw error
  same<Same<typeof error.code, ChassisErrorCode>>()
  same<Same<(typeof CHASSIS_ERROR_CODES)[number], ChassisErrorCode>>()
  switch (error.code) {
    case 'ERR_CHASSIS_NOT_FOUND':
      return 'not found'
    // @ts-expect-error the union is closed
    case 'ERR_CHASSIS_NOT_A_CODE':
      return 'never'
    default:
      return error.message
  }
}

export const options: OpenOptions[] = [
  { create: 'never' },
  { readOnly: true, lockTimeoutMs: 5, signal: new AbortController().signal },
  { m: 16, m0: 32, efConstruction: 200, quantization: 'none', model: 'x' },
  // @ts-expect-error an unknown metric
  { metric: 'euclidean' },
  // @ts-expect-error an unknown way to create
  { create: 'always' },
]
