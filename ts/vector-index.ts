/**
 * `VectorIndex`: the class users see. It checks JavaScript types, hands over to the binding and dresses results;
 * what an index does is decided in the core.
 */
import { Calls, sync } from './calls.js'
import { ChassisError } from './errors.js'
import { checkId, packIds, unpackIds } from './ids.js'
import { native } from './native.js'
import type { CancelToken, NativeBatchHits, NativeHits, NativeIndex } from './native.js'
import { open } from './opening.js'
import {
  batchOptions,
  checkOptions,
  compactOptions,
  openOptions,
  searchOptions,
  signalOnly,
  statsOptions,
  toPath,
} from './options.js'
import { packPayloads } from './payload.js'
import { Progress, watched } from './progress.js'
import { toRecord, toReport, toStored, toVersion } from './records.js'
import { SearchResult, cut } from './results.js'
import type { Included } from './results.js'
import type * as t from './types.js'
import { toMatrix, toVector } from './vectors.js'

type Id<T extends t.IdType> = t.IdOf<T>

/** What results without `include` hold of records. */
const NOTHING: Included = { dimensions: 0, vectors: undefined, payloads: undefined, lengths: undefined }

/**
 * An open index: one file of vectors with a graph that finds the nearest.
 *
 * Methods return promises and run on the thread pool; each has a `…Sync` twin that blocks, for scripts. Arguments
 * are copied before a method returns, so they may be reused at once. Failures reject with a {@link ChassisError}.
 *
 * Changes are seen by searches of this handle at once and are durable after {@link commit}. There is one writer per
 * file and any number of readers, in any process; readers see whole commits only. Writes of one handle run in the
 * order they were called. Searches never wait for writes.
 *
 * A handle that is not closed holds its file, and the writer's lock, until it is garbage collected. A handle that is
 * posted to a worker arrives as a plain object of its properties, without methods: open the file read-only there.
 *
 * @typeParam T - The type of ids: state `idType: 'string'`, or `open<'string'>`, when they are strings.
 *
 * @example
 * ```ts
 * import { VectorIndex } from '@chassis/core'
 *
 * await using index = await VectorIndex.open('docs.chassis', { dimensions: 3 })
 * await index.add({ id: 1, vector: [1, 0, 0], payload: { title: 'first' } })
 * await index.commit()
 * const [nearest] = await index.search([0.9, 0.1, 0], { k: 1, include: ['payload'] })
 * ```
 */
export class VectorIndex<T extends t.IdType = 'integer'> {
  /** The path it was opened with. */
  readonly path: string
  /** Numbers per vector. */
  readonly dimensions: number
  /** The metric. */
  readonly metric: t.Metric
  /** The type of ids. */
  readonly idType: T
  /** Whether this handle is for reading only. */
  readonly readOnly: boolean

  readonly #native: NativeIndex
  readonly #calls = new Calls()
  #closing: Promise<void> | undefined
  #closed = false
  /** Where synchronous searches write: grown on demand, copied out of. */
  #ids = new BigUint64Array(64)
  #distances = new Float32Array(64)

  /** Not for users: an index is opened by {@link VectorIndex.open}. */
  private constructor(path: string, index: NativeIndex) {
    if (!(index instanceof native.NativeIndex)) {
      throw new ChassisError(
        'ERR_CHASSIS_INVALID_ARGUMENT',
        'use VectorIndex.open(path) instead of new VectorIndex()',
      )
    }
    const facts = sync(() => index.facts())
    this.path = path
    this.dimensions = facts.dimensions
    this.metric = facts.metric
    this.idType = facts.idType as T
    this.readOnly = facts.readOnly
    this.#native = index
  }

  /**
   * Opens or creates an index. Costs the same at any size: nothing is scanned and nothing recovered.
   *
   * @param path - A path or a `file:` URL.
   * @param options - See {@link OpenOptions}; creating needs `dimensions`.
   * @throws `ERR_CHASSIS_NOT_FOUND`, `…_ALREADY_EXISTS`, `…_OPTION_MISMATCH` (an option differs from the file),
   * `…_INVALID_OPTION`, `…_WRITER_BUSY` (another writer has it; the message names the process), `…_NOT_A_DATABASE`,
   * `…_UNSUPPORTED_VERSION`, `…_CORRUPT`, `…_TRUNCATED`, `…_NOT_A_FILE`, `…_PERMISSION_DENIED`, `…_INVALID_PATH`,
   * `…_DISK_FULL`, `…_UNSUPPORTED_FILESYSTEM`, `…_IO`.
   */
  static async open<T extends t.IdType = 'integer'>(
    path: string | URL,
    options?: t.OpenOptions<T>,
  ): Promise<VectorIndex<T>> {
    const [where, stated] = [toPath(path), openOptions(options)]
    return new VectorIndex<T>(where, await open(where, stated.native, stated.signal))
  }

  /** {@link open}, blocking. */
  static openSync<T extends t.IdType = 'integer'>(
    path: string | URL,
    options?: t.OpenSyncOptions<T>,
  ): VectorIndex<T> {
    const [where, stated] = [toPath(path), openOptions(options, 'sync')]
    return new VectorIndex<T>(
      where,
      sync(() => native.NativeIndex.openSync(where, stated.native)),
    )
  }

  /** Number of records. */
  get size(): number {
    return sync(() => this.#open().count())
  }

  /**
   * The caller's own number, 0 to 2^64 − 1, committed with the data: it keeps another store in step. A `number`
   * where that is exact, else a `bigint`; 0 in a new file.
   */
  get userVersion(): number | bigint {
    return sync(() => this.#open().userVersion())
  }

  /**
   * Sets {@link userVersion}; durable with the next commit.
   *
   * @throws `ERR_CHASSIS_INVALID_ARGUMENT`, `…_READ_ONLY`.
   */
  async setUserVersion(version: number | bigint, options?: t.CallOptions): Promise<void> {
    const [index, number, signal] = [this.#open(), toVersion(version), signalOnly(options)]
    return this.#calls.write(signal, (c) => index.setUserVersion(number, c))
  }

  /** {@link setUserVersion}, blocking. */
  setUserVersionSync(version: number | bigint): void {
    const [index, number] = [this.#open(), toVersion(version)]
    sync(() => index.setUserVersionSync(number))
  }

  /**
   * Adds one vector, with an id and a payload if stated, and gives its id.
   *
   * For more than a few use {@link addBatch}, which uses all cores.
   *
   * @throws `ERR_CHASSIS_DUPLICATE_ID` (taken; nothing is replaced), `…_INVALID_ID`, `…_DIMENSION_MISMATCH`,
   * `…_INVALID_VECTOR` (NaN or infinite), `…_ZERO_NORM` (cosine), `…_CAPACITY_EXCEEDED`, `…_READ_ONLY`,
   * `…_INVALID_ARGUMENT`, `…_DISK_FULL`, `…_IO`, `…_POISONED`, `…_CLOSED`.
   */
  async add(record: t.Vector | t.RecordInput<T>, options?: t.CallOptions): Promise<Id<T>> {
    const [index, { id, vector, payload }, signal] = [this.#open(), toRecord(record), signalOnly(options)]
    const own = this.#calls.own(vector)
    return this.#calls.write(signal, (c) => index.add(id, own, payload, c) as Promise<Id<T>>)
  }

  /** {@link add}, blocking. Waits for writes that run, but not for those still queued. */
  addSync(record: t.Vector | t.RecordInput<T>): Id<T> {
    const [index, { id, vector, payload }] = [this.#open(), toRecord(record)]
    return sync(() => index.addSync(id, vector, payload) as Id<T>)
  }

  /**
   * Adds vectors, all of them or none, and gives their ids.
   *
   * Linked on all cores; the file is the same to the byte with any number of them. While it runs, searches go on
   * and see none of the batch.
   *
   * @param vectors - Back to back in one `Float32Array`, or a list of vectors.
   * @throws Like {@link add}; the message names the row. `ERR_CHASSIS_INVALID_ARGUMENT` when `ids` or `payloads` are
   * not one per row.
   */
  async addBatch(vectors: t.Vectors, options?: t.AddBatchOptions<T>): Promise<Id<T>[]> {
    const index = this.#open()
    const o = batchOptions(options)
    const given = toMatrix(vectors, this.dimensions, 'vectors')
    const stated = o.ids === undefined ? undefined : packIds(o.ids, this.idType)
    const payloads =
      o.payloads === undefined ? undefined : packPayloads(o.payloads, given.length / this.dimensions)
    // Not before: a `toJSON` among the payloads may have called a write, which this one waits for.
    const [rows, ids] = [this.#calls.own(given), stated && this.#calls.own(stated)]
    const progress = o.onProgress && new Progress(o.onProgress, rows.length / this.dimensions)
    const start = (token?: CancelToken): Promise<BigUint64Array> => {
      const cancel = token ?? new native.CancelToken()
      return index.addBatch(
        rows,
        ids,
        payloads?.bytes,
        payloads?.lengths,
        o.threads,
        cancel,
        progress?.ticker(cancel),
      )
    }
    const added = await watched(progress, this.#calls.write(o.signal, start))
    progress?.end()
    return this.#batchIds(ids, added)
  }

  /** {@link addBatch}, blocking. */
  addBatchSync(vectors: t.Vectors, options?: t.AddBatchSyncOptions<T>): Id<T>[] {
    const [index, o] = [this.#open(), batchOptions(options, 'sync')]
    const rows = toMatrix(vectors, this.dimensions, 'vectors')
    const ids = o.ids === undefined ? undefined : packIds(o.ids, this.idType)
    const payloads =
      o.payloads === undefined ? undefined : packPayloads(o.payloads, rows.length / this.dimensions)
    const added = sync(() => index.addBatchSync(rows, ids, payloads?.bytes, payloads?.lengths, o.threads))
    return this.#batchIds(ids, added)
  }

  /**
   * Deletes records and gives how many there were; unknown ids are passed over. Deleted records are gone from
   * results at once and their ids may be used again.
   *
   * @param ids - One id or a list.
   * @throws `ERR_CHASSIS_INVALID_ID`, `…_READ_ONLY`, `…_CLOSED`.
   */
  async delete(ids: Id<T> | readonly Id<T>[] | BigUint64Array, options?: t.CallOptions): Promise<number> {
    const [index, packed, signal] = [this.#open(), this.#pack(ids), signalOnly(options)]
    const own = this.#calls.own(packed)
    return this.#calls.write(signal, (c) => index.delete(own, c))
  }

  /** {@link delete}, blocking. */
  deleteSync(ids: Id<T> | readonly Id<T>[] | BigUint64Array): number {
    const [index, packed] = [this.#open(), this.#pack(ids)]
    return sync(() => index.deleteSync(packed))
  }

  /**
   * Whether a record has this id.
   *
   * @throws `ERR_CHASSIS_INVALID_ID`, `…_CLOSED`.
   */
  async has(id: Id<T>, options?: t.CallOptions): Promise<boolean> {
    const [index, key, signal] = [this.#open(), checkId(id), signalOnly(options)]
    return this.#calls.read(signal, (c) => index.has(key, c))
  }

  /** {@link has}, blocking. */
  hasSync(id: Id<T>): boolean {
    const [index, key] = [this.#open(), checkId(id)]
    return sync(() => index.hasSync(key))
  }

  /**
   * Reads a record, its checksums verified; `undefined` when the id is unknown.
   *
   * @typeParam P - What the caller knows the payload to be; not checked.
   * @throws `ERR_CHASSIS_INVALID_ID`, `…_CORRUPT`, `…_IO`, `…_CLOSED`.
   */
  async get<P = t.Payload>(id: Id<T>, options?: t.CallOptions): Promise<t.StoredRecord<T, P> | undefined> {
    const [index, key, signal] = [this.#open(), checkId(id), signalOnly(options)]
    return toStored<T, P>(key as Id<T>, await this.#calls.read(signal, (c) => index.get(key, c)))
  }

  /** {@link get}, blocking. */
  getSync<P = t.Payload>(id: Id<T>): t.StoredRecord<T, P> | undefined {
    const [index, key] = [this.#open(), checkId(id)]
    return toStored<T, P>(
      key as Id<T>,
      sync(() => index.getSync(key)),
    )
  }

  /**
   * The nearest records, nearest first. In a small index the query is compared with every record. In a larger one the
   * search walks a graph and may miss some of the nearest: `recall` or `efSearch` say how hard it looks, `exact` that it
   * must not. Returned distances are exact in each case. With `include`, a record deleted while the search runs is left out.
   *
   * @param query - As many numbers as the index has dimensions.
   * @throws `ERR_CHASSIS_DIMENSION_MISMATCH`, `…_INVALID_QUERY` (NaN or infinite), `…_ZERO_NORM` (cosine),
   * `…_INVALID_OPTION`, `…_INVALID_ARGUMENT`, `…_CORRUPT`, `…_IO`, `…_CLOSED`.
   */
  async search<I extends t.Include = never>(
    query: t.Vector,
    options?: t.SearchOptions<I>,
  ): Promise<SearchResult<T, I>> {
    const [index, vector, o] = [this.#open(), toVector(query, 'query'), searchOptions(options)]
    const { k, efSearch, recall, exact, radius, vectors, payloads, signal } = o
    const call = (c?: CancelToken): Promise<NativeHits> =>
      index.search(vector, k, efSearch, recall, exact, radius, vectors, payloads, c)
    return this.#result(await this.#calls.read(signal, call))
  }

  /** {@link search}, blocking. The fastest way to search once: a few microseconds over the search itself. */
  searchSync<I extends t.Include = never>(
    query: t.Vector,
    options?: t.SearchSyncOptions<I>,
  ): SearchResult<T, I> {
    const [index, vector, o] = [this.#open(), toVector(query, 'query'), searchOptions(options, false, 'sync')]
    const { k, efSearch, recall, exact, radius, vectors, payloads } = o
    if (vectors || payloads || this.idType === 'string') {
      return this.#result(
        sync(() => index.searchSync(vector, k, efSearch, recall, exact, radius, vectors, payloads)),
      )
    }
    const count = sync(() =>
      index.searchInto(vector, k, efSearch, recall, exact, radius, this.#ids, this.#distances),
    )
    if (count > this.#ids.length) {
      this.#ids = new BigUint64Array(count)
      this.#distances = new Float32Array(count)
      index.lastHits(this.#ids, this.#distances)
    }
    const ids = unpackIds(this.#ids, count) as Id<T>[]
    return new SearchResult<T, I>(this.metric, ids, this.#distances.slice(0, count), NOTHING)
  }

  /**
   * Searches many queries in one call, on all cores; one result per query, the same as {@link search} gives. Exact
   * searches of a batch share each pass over the vectors and are several times as fast as one by one.
   *
   * @param queries - Back to back in one `Float32Array`, or a list of vectors.
   * @throws Like {@link search}.
   */
  async searchBatch<I extends t.Include = never>(
    queries: t.Vectors,
    options?: t.SearchBatchOptions<I>,
  ): Promise<SearchResult<T, I>[]> {
    const [index, rows, o] = [
      this.#open(),
      toMatrix(queries, this.dimensions, 'queries'),
      searchOptions(options, true),
    ]
    const { k, efSearch, recall, exact, radius, vectors, payloads, threads, signal } = o
    const call = (c?: CancelToken): Promise<NativeBatchHits> =>
      index.searchBatch(rows, k, efSearch, recall, exact, radius, vectors, payloads, threads, c)
    return this.#results(await this.#calls.read(signal, call))
  }

  /** {@link searchBatch}, blocking. */
  searchBatchSync<I extends t.Include = never>(
    queries: t.Vectors,
    options?: t.SearchBatchSyncOptions<I>,
  ): SearchResult<T, I>[] {
    const [index, rows, o] = [
      this.#open(),
      toMatrix(queries, this.dimensions, 'queries'),
      searchOptions(options, true, 'sync'),
    ]
    const { k, efSearch, recall, exact, radius, vectors, payloads, threads } = o
    return this.#results(
      sync(() => index.searchBatchSync(rows, k, efSearch, recall, exact, radius, vectors, payloads, threads)),
    )
  }

  /**
   * Makes everything so far durable and gives the commit's number. Once it resolves, no crash and no power cut loses
   * it. Without changes it gives the last number and touches nothing. Costs two flushes of the device's cache.
   *
   * Some commits also make what searches use, and can be aborted while they do: what was to be committed is still there.
   * Once it writes, a commit is past stopping.
   *
   * - codes, where `quantization` makes any: at 2,048 records and at most once more, at eight times as many as they were
   *   fitted on, unless a batch has done so itself. Up to a second for the model, on one core, and the codes of all
   *   records are written anew, on all cores;
   * - the recall table, at 2,048 records, each time their number has doubled, and with new codes: 0.6 to 2.4 processor seconds on 59,000
   *   to 340,000 vectors, on all cores.
   *
   * @throws `ERR_CHASSIS_DISK_FULL` (nothing is lost: free space and commit again), `…_POISONED` and
   * `…_COMMIT_INDETERMINATE` (this handle is done for: reopen), `…_READ_ONLY`, `…_IO`, `…_CLOSED`.
   */
  async commit(options?: t.CallOptions): Promise<number> {
    const [index, signal] = [this.#open(), signalOnly(options)]
    return this.#calls.write(signal, (c) => index.commit(c))
  }

  /** {@link commit}, blocking. */
  commitSync(): number {
    const index = this.#open()
    return sync(() => index.commitSync())
  }

  /**
   * Forgets everything since the last commit.
   *
   * @throws `ERR_CHASSIS_READ_ONLY`, `…_IO`, `…_CLOSED`.
   */
  async rollback(options?: t.CallOptions): Promise<void> {
    const [index, signal] = [this.#open(), signalOnly(options)]
    return this.#calls.write(signal, (c) => index.rollback(c))
  }

  /** {@link rollback}, blocking. */
  rollbackSync(): void {
    const index = this.#open()
    sync(() => index.rollbackSync())
  }

  /**
   * Moves a reader to the newest commit, in a new file if the index was compacted or replaced, and says whether there
   * was a newer one. A writer always sees its own state. A reader that never refreshes answers from what it opened.
   *
   * @throws `ERR_CHASSIS_SUPERSEDED` (an index with other options is under the name now: reopen), `…_NOT_FOUND`,
   * `…_CORRUPT`, `…_IO`, `…_CLOSED`.
   */
  async refresh(options?: t.CallOptions): Promise<boolean> {
    const [index, signal] = [this.#open(), signalOnly(options)]
    return this.#calls.read(signal, (c) => index.refresh(c))
  }

  /** {@link refresh}, blocking. */
  refreshSync(): boolean {
    const index = this.#open()
    return sync(() => index.refreshSync())
  }

  /**
   * Looks for damage. What it finds is returned, not thrown. See {@link CheckLevel} for what each level costs.
   * On a writer it takes its turn among the writes: it waits for those before it, and those after it wait until it is
   * done. Searches wait for neither.
   *
   * @throws `ERR_CHASSIS_INVALID_OPTION`, `…_IO`, `…_CLOSED`.
   */
  async check(options?: t.CheckOptions): Promise<t.CheckReport> {
    const [index, { level, signal }] = [this.#open(), checkOptions(options)]
    // A check by a writer waits for writes, and would hold one of the few threads of the pool meanwhile.
    const turn = this.readOnly ? 'read' : 'write'
    return toReport(await this.#calls[turn](signal, (c) => index.check(level, c)))
  }

  /** {@link check}, blocking. */
  checkSync(options?: t.CheckSyncOptions): t.CheckReport {
    const [index, { level }] = [this.#open(), checkOptions(options, 'sync')]
    return toReport(sync(() => index.checkSync(level)))
  }

  /**
   * Builds the index anew from its records in a second file, which then takes the place of the first: gives back the
   * space of deleted records, makes the graph that one batch of all records would, and fits codes and recall to them.
   *
   * Ids, payloads, vectors to the bit, options, `userVersion` and the next id to assign stay. Changes that are not
   * committed are committed first, and stay so whatever comes of the rest. It takes the time of a build and, until it
   * ends, the disk space of a second file. Searches go on; other writes of this index wait. Readers in other processes
   * keep the old file until they {@link refresh}. A crash leaves one of the two files, whole.
   *
   * @throws `ERR_CHASSIS_READ_ONLY`, `…_CORRUPT`, `…_DISK_FULL`, `…_PERMISSION_DENIED`, `…_IO`, `…_SUPERSEDED`,
   * `…_UNSUPPORTED_VERSION`, `…_WRITER_BUSY` (another compaction has the temporary name), and what `signal` was aborted with: the index is as it was.
   * `…_COMMIT_INDETERMINATE`: the new file is in place, but may be gone after a power cut; reopen before writing.
   * `…_CLOSED`.
   */
  async compact(options?: t.CompactOptions): Promise<t.CompactReport> {
    const [index, { threads, onProgress, signal }] = [this.#open(), compactOptions(options)]
    const progress = onProgress && new Progress(onProgress)
    const start = (token?: CancelToken): Promise<t.CompactReport> => {
      const cancel = token ?? new native.CancelToken()
      return index.compact(threads, cancel, progress?.ticker(cancel))
    }
    const report = await watched(progress, this.#calls.write(signal, start))
    progress?.end(report.records)
    return report
  }

  /** {@link compact}, blocking. */
  compactSync(options?: t.CompactSyncOptions): t.CompactReport {
    const [index, { threads }] = [this.#open(), compactOptions(options, 'sync')]
    return sync(() => index.compactSync(threads))
  }

  /**
   * Reads in what a search needs, so that the first searches do not wait for the disk: the graph, node records and
   * codes; the vectors last, and only when the whole file fits in half of the memory. Where it does not, only what
   * has room is read, the busiest first, and searches are faster for as long as it stays. What is read is verified.
   * Searches and writes go on meanwhile. Nothing needs it; call it after opening when the first answers matter.
   *
   * @throws `ERR_CHASSIS_CORRUPT`, `…_TRUNCATED`, `…_IO`, `…_CLOSED`.
   */
  async warm(options?: t.CallOptions): Promise<t.WarmReport> {
    const [index, signal] = [this.#open(), signalOnly(options)]
    return this.#calls.read(signal, (c) => index.warm(c))
  }

  /** {@link warm}, blocking. */
  warmSync(): t.WarmReport {
    const index = this.#open()
    return sync(() => index.warmSync())
  }

  /**
   * Facts and figures. Cheap: some 10 microseconds. In an index with codes the first call takes some milliseconds, and
   * so does one after the records added since the codes were fitted have grown by an eighth, to measure
   * {@link t.CodeStats.drift}; tenths of a second where what it reads has to come from the disk.
   *
   * @throws `ERR_CHASSIS_CORRUPT`, `…_IO`, `…_CLOSED`.
   */
  async stats(options?: t.StatsOptions): Promise<t.Stats> {
    const [index, { hugePages, signal }] = [this.#open(), statsOptions(options)]
    return this.#calls.read(signal, (c) => index.stats(hugePages, c))
  }

  /** {@link stats}, blocking. */
  statsSync(options?: t.StatsSyncOptions): t.Stats {
    const [index, { hugePages }] = [this.#open(), statsOptions(options, 'sync')]
    return sync(() => index.statsSync(hugePages))
  }

  /**
   * Closes the index: calls made before finish, later ones fail with `ERR_CHASSIS_CLOSED`, and the lock is let go.
   * Changes since the last {@link commit} are forgotten. Closing again is fine.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#closed = true
    await this.#calls.idle()
    sync(() => this.#native.close())
  }

  /**
   * {@link close} without waiting: calls that run finish and keep the file until then; queued ones fail with
   * `ERR_CHASSIS_CLOSED`.
   */
  closeSync(): void {
    this.#closed = true
    sync(() => this.#native.close())
  }

  /** {@link closeSync}, for `using`. */
  [Symbol.dispose](): void {
    this.closeSync()
  }

  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #open(): NativeIndex {
    if (!this.#closed) return this.#native
    throw new ChassisError('ERR_CHASSIS_CLOSED', `the index ${this.path} is closed`)
  }

  #pack(ids: Id<T> | readonly Id<T>[] | BigUint64Array): BigUint64Array | string[] {
    return packIds(typeof ids === 'object' ? ids : [ids], this.idType)
  }

  #batchIds(stated: BigUint64Array | string[] | undefined, added: BigUint64Array): Id<T>[] {
    return (this.idType === 'string' ? (stated ?? []) : unpackIds(added, added.length)) as Id<T>[]
  }

  #result<I extends t.Include>(hits: NativeHits): SearchResult<T, I> {
    return new SearchResult<T, I>(this.metric, ...this.#columns(hits))
  }

  /** Results of a batch; each owns its memory, so that one kept does not keep all. */
  #results<I extends t.Include>({ counts, hits }: NativeBatchHits): SearchResult<T, I>[] {
    const [ids, distances, included] = this.#columns(hits)
    let [end, byte] = [0, 0]
    return counts.map((count) => {
      const [from, to] = [end, (end += count)]
      const [part, next] = cut(included, from, to, byte)
      byte = next
      return new SearchResult<T, I>(this.metric, ids.slice(from, to), distances.slice(from, to), part)
    })
  }

  #columns(hits: NativeHits): [ids: Id<T>[], distances: Float32Array, included: Included] {
    const { numbers, ids: texts, vectors, payloads, lengths } = hits
    const count = texts === undefined ? numbers.byteLength / 12 : texts.length
    const ids = (texts ?? unpackIds(new BigUint64Array(numbers, 0, count), count)) as Id<T>[]
    const distances = new Float32Array(numbers, texts === undefined ? 8 * count : 0, count)
    return [ids, distances, { dimensions: this.dimensions, vectors, payloads, lengths }]
  }
}
