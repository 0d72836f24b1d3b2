/**
 * The public types: what calls take and give, with units, ranges and defaults.
 */

/**
 * How near is measured; fixed when the file is created. `distance` is smaller and `similarity` larger when two
 * vectors are closer.
 *
 * | metric | distance | similarity |
 * |---|---|---|
 * | `cosine` | `1 - cos(a, b)`, 0 to 2; vectors need not be of unit length | `cos(a, b)` |
 * | `l2` | Euclidean distance, the root taken | `1 / (1 + distance)` |
 * | `ip` | `-dot(a, b)` | `dot(a, b)` |
 */
export type Metric = 'cosine' | 'l2' | 'ip'

/** What the ids of an index are; fixed when the file is created. */
export type IdType = 'integer' | 'string'

/**
 * The id of a record, by the id type of its index.
 *
 * Integers: a `number` from 0 to 2^53 − 1 or a `bigint` from 0 to 2^64 − 2 goes in; a `number` comes back where it
 * is exact, a `bigint` above. Strings: 1 to 1,024 bytes of UTF-8.
 */
export type IdOf<T extends IdType> = T extends 'string' ? string : number | bigint

/** Which codes a search walks over. Returned distances are exact with each of them. */
export type Quantization = 'auto' | 'none' | '8bit' | '4bit'

/** One vector: a number per dimension. Arrays are rounded to 32-bit floats. */
export type Vector = Float32Array | readonly number[]

/** Vectors: back to back in one `Float32Array`, or a list. */
export type Vectors = Float32Array | readonly Vector[]

/** A value that JSON can hold. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue }

/** A stored payload: a JSON value, or bytes where bytes were stored. */
export type Payload = JsonValue | Uint8Array

/**
 * What can be stored as a payload: bytes, or anything that `JSON.stringify` gives a text for. At most 16 MiB as
 * stored.
 */
export type PayloadInput = Uint8Array | string | number | boolean | null | object

/** What any asynchronous call takes. */
export interface CallOptions {
  /**
   * Aborts the call. An aborted call rejects with `signal.reason`. A call that is past stopping when the signal
   * fires settles as if it had none.
   */
  signal?: AbortSignal | undefined
}

/**
 * Options of {@link VectorIndex.open}. All of them are stored in the file, but for those under "this handle":
 * opening an existing file never needs to repeat them, and one that differs from what the file says is
 * `ERR_CHASSIS_OPTION_MISMATCH`.
 */
export interface OpenSyncOptions<T extends IdType = IdType> {
  /** Numbers per vector, 1 to 65,535. Needed to create a file. */
  dimensions?: number | undefined
  /** Default `'cosine'`. */
  metric?: Metric | undefined
  /** Default `'integer'`. */
  idType?: T | undefined
  /** Links that a new node makes on each layer of the graph, 2 to 64. Default 16. */
  m?: number | undefined
  /** Most links of a node on layer 0, 4 to 96. Default `3 * m` below 256 dimensions, else `2 * m`. */
  m0?: number | undefined
  /** Candidates held while links are chosen, 8 to 4,096. More costs build time. Default 128. */
  efConstruction?: number | undefined
  /**
   * The codes walks run over from 2,048 records on; distances returned are exact in each case. `'auto'` (the default): 4
   * bits a component from 64 dimensions on, and beyond 240 dimensions a second stage of 8 bits. `'4bit'`: without the
   * second stage, so a smaller file and lower recall at equal effort. `'8bit'`: more bytes a step, finer estimates.
   * `'none'`: the vectors themselves.
   */
  quantization?: Quantization | undefined
  /** A free stamp of the embedding model, up to 256 bytes of UTF-8. Default empty. */
  model?: string | undefined

  /**
   * This handle: a snapshot for reading, which never waits for a writer and changes nothing on disk, so it works on
   * read-only file systems and beside a writer. Default `false`.
   */
  readOnly?: boolean | undefined
  /**
   * This handle: what to do about the file.
   *
   * - `'if-missing'` (default): create when there is none and `dimensions` is stated.
   * - `'never'`: a missing file is `ERR_CHASSIS_NOT_FOUND`.
   * - `'new'`: an existing file is `ERR_CHASSIS_ALREADY_EXISTS`.
   */
  create?: 'if-missing' | 'never' | 'new' | undefined
  /** This handle: milliseconds to wait for another writer to let go of the file. Default 0. */
  lockTimeoutMs?: number | undefined
}

/** Options of {@link VectorIndex.open}. */
export interface OpenOptions<T extends IdType = IdType> extends OpenSyncOptions<T>, CallOptions {}

/** A record to add. */
export interface RecordInput<T extends IdType = 'integer'> {
  /** The id. Absent in an index with integer ids: one past the largest id ever used. */
  id?: IdOf<T> | undefined
  /** The vector. */
  vector: Vector
  /** Anything to keep with it. */
  payload?: PayloadInput | undefined
}

/** A record read back. */
export interface StoredRecord<T extends IdType = 'integer', P = Payload> {
  /** Its id. */
  id: IdOf<T>
  /** The vector: exactly the bits that were added. */
  vector: Float32Array
  /** The payload, absent when none was added. */
  payload?: P
}

/** Options of {@link VectorIndex.addBatchSync}. */
export interface AddBatchSyncOptions<T extends IdType = 'integer'> {
  /** One id per row. Absent in an index with integer ids: assigned, ascending. */
  ids?: readonly IdOf<T>[] | (T extends 'integer' ? BigUint64Array : never) | undefined
  /** One payload per row; `undefined` for none. */
  payloads?: readonly (PayloadInput | undefined)[] | undefined
  /** Threads that link rows, at least 1. Default: all cores. The file's bytes do not depend on it. */
  threads?: number | undefined
}

/** Options of {@link VectorIndex.addBatch}. */
export interface AddBatchOptions<T extends IdType = 'integer'> extends AddBatchSyncOptions<T>, CallOptions {
  /**
   * Called with rows done and rows in all, at most ten times a second and once at the end. In a bulk build a row is
   * half done when it is linked. If it throws, or a promise it returns rejects, the batch is cancelled and the call
   * rejects with that. When it does so too late, as at the end, the rows are added and the call resolves: the failure
   * is emitted as a warning of the process, named `ChassisWarning`.
   */
  onProgress?: ((done: number, total: number) => void) | undefined
}

/** What a search can return beside ids and distances. */
export type Include = 'vector' | 'payload'

/** Options of {@link VectorIndex.searchSync}. */
export interface SearchSyncOptions<I extends Include = Include> {
  /** Results wanted, 0 to 2^20. More than there are records gives them all. Default 10. */
  k?: number | undefined
  /**
   * Effort: how many candidates a search keeps in view while it walks the graph, 1 to 2^20; fewer than `k` count as `k`.
   * More finds more of the true nearest and takes longer. What a number finds depends on the data: to ask for a quality,
   * state `recall`. Default 64 where neither is stated. Deleted records do not count: room for them is added in their
   * share. Of no effect where every record is compared: see `exact`.
   */
  efSearch?: number | undefined
  /**
   * Quality, in place of `efSearch`: the share of the true `k` nearest to find, 0.5 to 0.999, on average over queries
   * that resemble the stored vectors; others may find less. The effort it takes is measured by the first commit with
   * 2,048 records and again when they have doubled; before that a careful one is assumed. More than
   * {@link RecallStats.highest} is tried for, not promised. Beside `efSearch` it is `ERR_CHASSIS_INVALID_OPTION`.
   */
  recall?: number | undefined
  /**
   * Compares the query with every record, so that none of the nearest is missed; the time grows with the index. Default
   * `false`: only where that is quick, up to 200,000 records times dimensions, or all records are wanted. `efSearch` and
   * `recall` then only have to be valid.
   */
  exact?: boolean | undefined
  /** Only results at this distance or nearer. Default: at any. */
  radius?: number | undefined
  /** What to return beside ids and distances: each of them costs a read per result. Default: nothing. */
  include?: readonly I[] | undefined
}

/** Options of {@link VectorIndex.search}. */
export interface SearchOptions<I extends Include = Include> extends SearchSyncOptions<I>, CallOptions {}

/** Options of {@link VectorIndex.searchBatchSync}. */
export interface SearchBatchSyncOptions<I extends Include = Include> extends SearchSyncOptions<I> {
  /** Threads that search, at least 1. Default: all cores. */
  threads?: number | undefined
}

/** Options of {@link VectorIndex.searchBatch}. */
export interface SearchBatchOptions<I extends Include = Include>
  extends SearchBatchSyncOptions<I>, CallOptions {}

/** How deep a check goes. Each level includes those before it. */
export type CheckLevel =
  /** Header, commit records and tables. Milliseconds. */
  | 'meta'
  /** Every checksum and the account of every block. Reads the whole file. */
  | 'pages'
  /**
   * Ids, records, the graph (degrees, levels, self edges, reachability of every record) and each code against its
   * vector.
   */
  | 'full'

/** Options of {@link VectorIndex.checkSync}. */
export interface CheckSyncOptions {
  /** Default `'full'`. */
  level?: CheckLevel | undefined
}

/** Options of {@link VectorIndex.check}. */
export interface CheckOptions extends CheckSyncOptions, CallOptions {}

/** One thing that a check found wrong. */
export interface CheckProblem {
  /** A stable word for the kind of damage. */
  code: string
  /** Where, for example `node 7`. */
  where: string
  /** What is wrong there. */
  message: string
}

/** What a check found. */
export interface CheckReport {
  /** Whether nothing is wrong. */
  ok: boolean
  /** Everything wrong, up to a thousand entries. */
  problems: CheckProblem[]
  /** Graph nodes looked at; 0 below level `'full'`. */
  nodes: number
  /** Blocks of the file accounted for. */
  blocks: number
}

/** Options of {@link VectorIndex.compactSync}. */
export interface CompactSyncOptions {
  /** Threads that build, at least 1. Default: all cores. The file's bytes do not depend on it. */
  threads?: number | undefined
}

/** Options of {@link VectorIndex.compact}. */
export interface CompactOptions extends CompactSyncOptions, CallOptions {
  /**
   * Called with records done and records in all, at most ten times a second and once at the end. A record is half done
   * when it is linked; copying comes before the first call. If it throws, or a promise it returns rejects, the
   * compaction is cancelled and the call rejects with that. Too late for it, as at the end, the failure is a warning, as
   * in {@link AddBatchOptions.onProgress}.
   */
  onProgress?: ((done: number, total: number) => void) | undefined
}

/** What {@link VectorIndex.compact} did. */
export interface CompactReport {
  /** Records, all of which are in the new file. */
  records: number
  /** Tombstones that are not. */
  removed: number
  /** Length of the old file. */
  bytesBefore: number
  /** Length of the new file. */
  bytesAfter: number
  /** Number of the new file's commit, greater than any before. */
  commit: number
}

/** What {@link VectorIndex.warm} did. */
export interface WarmReport {
  /** Bytes read from the file, or from the system's cache of it. */
  bytes: number
}

/** Options of {@link VectorIndex.statsSync}. */
export interface StatsSyncOptions {
  /**
   * Also give {@link Stats.hugePageBytes}. The kernel looks at all memory of the process for it, which takes 1 to 20
   * milliseconds. Default `false`.
   */
  hugePages?: boolean | undefined
}

/** Options of {@link VectorIndex.stats}. */
export interface StatsOptions extends StatsSyncOptions, CallOptions {}

/** The codes that searches walk over, and how well they still fit. */
export interface CodeStats {
  /** Which of their models this is, counted from 1: a new one is fitted as the index grows. */
  generation: number
  /** Kinds of records: walks run over the first. */
  kinds: ('4bit' | '8bit')[]
  /** Components of a 4-bit record; 0 when there are none. */
  components: number
  /** Whether these are fewer than the dimensions: a projection on where the vectors spread most. */
  projects: boolean
  /** Records the model was fitted on. */
  fittedRows: number
  /** Records the index had then, deleted ones among them. */
  indexRows: number
  /**
   * How much worse the codes tell distances of records added since: the error of estimated distances, in proportion
   * to the distances of near neighbors, over that of records before the fit, minus 1. About 0 (also a little below)
   * for more of the same, 1 for twice the error. Above 1 expect to lose recall among the newer records, a point or
   * more at equal `efSearch`: `compact()` fits them again. 0 when fewer than 64 records came since.
   */
  drift: number
}

/** What searches with a `recall` go by. */
export interface RecallStats {
  /** Records the index had when it was fitted, deleted ones among them. */
  fittedRows: number
  /** The highest recall that it promises for up to 10 results. */
  highest: number
}

/** Facts and figures of an index. */
export interface Stats {
  /** Records. */
  count: number
  /** Tombstones: deleted records whose space is not given back yet. */
  deleted: number
  /** Numbers per vector. */
  dimensions: number
  /** The metric. */
  metric: Metric
  /** The type of ids. */
  idType: IdType
  /** Links that a new node makes. */
  m: number
  /** Most links of a node on layer 0. */
  m0: number
  /** Candidates held while inserting. */
  efConstruction: number
  /** The codes asked for at creation. */
  quantization: Quantization
  /** The codes there are; absent before 2,048 records, and where none are made. */
  codes?: CodeStats
  /** What searches with a `recall` go by; absent before the first commit with 2,048 records. */
  recall?: RecallStats
  /** The model stamp, empty when none was given. */
  model: string
  /** The caller's own version number, committed with the data. */
  userVersion: number | bigint
  /** Number of the commit that this handle sees. */
  commit: number
  /** Length of the file in bytes. */
  fileBytes: number
  /** Bytes of the file that hold nothing and will be used again. */
  reclaimableBytes: number
  /** Bytes that this handle holds on the heap, about. */
  heapBytes: number
  /** Bytes of address space mapped; the operating system gives and takes the memory behind them. */
  mappedBytes: number
  /**
   * Bytes of those that Linux serves by pages of 2 MiB now, 0 on other systems; present when asked for by
   * {@link StatsSyncOptions.hugePages}.
   */
  hugePageBytes?: number
  /** The distance kernel in use: `vnni` (AVX2 with AVX-VNNI), `avx2`, `neon` or `scalar`. */
  kernel: string
  /** Whether the newest commit was unreadable at open and the one before it was used. */
  recoveredPreviousCommit: boolean
  /** Whether this handle is for reading only. */
  readOnly: boolean
}
