/**
 * JavaScript types of options. Ranges and defaults are the core's: what is absent here stays absent.
 */
import { fileURLToPath } from 'node:url'

import { ChassisError, describe } from './errors.js'
import type { NativeOpenOptions } from './native.js'
import type {
  AddBatchOptions,
  CallOptions,
  CheckLevel,
  CheckOptions,
  CompactOptions,
  IdType,
  Include,
  OpenOptions,
  SearchBatchOptions,
  StatsOptions,
} from './types.js'

/** Which twin of a method is called: the blocking one can neither be aborted nor tell of progress. */
export type Form = 'async' | 'sync'

type Names = ReadonlySet<string>

/** The names of a method's options, those of both forms and those of the asynchronous one alone. */
function names(both: Iterable<string>, alone = ['signal']): Record<Form, Names> {
  return { async: new Set([...both, ...alone]), sync: new Set(both) }
}

/** Refuses a name that would be ignored in silence, such as a misspelled one. */
export function checkNames(object: object, allowed: Names, what = 'option'): void {
  for (const name of Object.keys(object)) {
    if (!allowed.has(name))
      throw invalid(`unknown ${what} ${describe(name)}; known are: ${[...allowed].join(', ')}`)
  }
}

/** The options object of a call, or an empty one. */
export function toObject<O extends object>(options: O | undefined): Partial<O> {
  if (options === undefined) return {}
  if (typeof options === 'object' && options !== null) return options
  throw new ChassisError(
    'ERR_CHASSIS_INVALID_ARGUMENT',
    `options must be an object, not ${describe(options)}`,
  )
}

/** A whole number, if there is one. Most are at least 1, which the core checks with the rest of their range. */
export function whole(name: string, value: unknown, what = 'positive whole number'): number | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw invalid(`${name} must be a ${what}, not ${describe(value)}`)
}

const FROM_0 = 'whole number from 0 up'

/** At least one thread, if the number is stated. */
export function threads(value: unknown): number | undefined {
  if (value === 0) throw invalid('threads must be at least 1, not 0')
  return whole('threads', value)
}

/** A boolean, if there is one. */
export function flag(name: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw invalid(`${name} must be true or false, not ${describe(value)}`)
}

/** Characters of the longest text that an option may be: more than any option takes. */
const LONGEST = 1000

function text(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined
  // What the core makes of a text is said with the text in it.
  if (typeof value === 'string' && value.length <= LONGEST && value.isWellFormed()) return value
  throw invalid(
    `${name} must be a well-formed string of at most ${LONGEST} characters, not ${describe(value)}`,
  )
}

/** The signal of a call, if there is one. */
export function signalOf(options: CallOptions | undefined): AbortSignal | undefined {
  if (options === undefined) return undefined
  const { signal } = toObject(options)
  if (signal === undefined || isSignal(signal)) return signal
  throw invalid(`signal must be an AbortSignal, not ${describe(signal)}`)
}

/** One that answers: what only inherits from a signal does not. */
function isSignal(value: unknown): value is AbortSignal {
  try {
    return value instanceof AbortSignal && typeof value.aborted === 'boolean'
  } catch {
    return false
  }
}

const CALL = names([])

/** The signal of a call that takes nothing else. */
export function signalOnly(options: CallOptions | undefined): AbortSignal | undefined {
  if (options === undefined) return undefined
  checkNames(toObject(options), CALL.async)
  return signalOf(options)
}

/** A path of the file system. */
export function toPath(path: unknown): string {
  if (isUrl(path)) {
    if (path.protocol === 'file:') return fromUrl(path)
    throw new ChassisError(
      'ERR_CHASSIS_INVALID_PATH',
      `the path is a ${path.protocol} URL; only file: URLs are paths`,
    )
  }
  if (typeof path !== 'string') {
    throw new ChassisError(
      'ERR_CHASSIS_INVALID_ARGUMENT',
      `path must be a string or a file: URL, not ${describe(path)}`,
    )
  }
  if (path === '' || !path.isWellFormed()) {
    throw new ChassisError(
      'ERR_CHASSIS_INVALID_PATH',
      `the path ${describe(path)} is empty or not well-formed`,
    )
  }
  return path
}

function isUrl(value: unknown): value is URL {
  try {
    return value instanceof URL && typeof value.href === 'string'
  } catch {
    return false
  }
}

function fromUrl(url: URL): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    const text = `the URL ${url.href} names no file of this machine: ${(cause as Error).message}`
    throw new ChassisError('ERR_CHASSIS_INVALID_PATH', text, { cause })
  }
}

const OPEN = names(
  ['dimensions', 'metric', 'idType', 'm', 'm0', 'efConstruction', 'quantization', 'model'].concat(
    ['readOnly', 'create', 'lockTimeoutMs'], // of this handle
  ),
)

/** Options of `open`, those for the binding apart. */
export function openOptions(
  options: OpenOptions | undefined,
  form: Form = 'async',
): { native: NativeOpenOptions; signal: AbortSignal | undefined } {
  const o = toObject(options)
  checkNames(o, OPEN[form])
  const stated = {
    mode: modeOf(flag('readOnly', o.readOnly) ?? false, o.create),
    dimensions: whole('dimensions', o.dimensions),
    metric: text('metric', o.metric),
    idType: text('idType', o.idType),
    m: whole('m', o.m),
    m0: whole('m0', o.m0),
    efConstruction: whole('efConstruction', o.efConstruction),
    quantization: text('quantization', o.quantization),
    model: text('model', o.model),
    lockTimeoutMs: whole('lockTimeoutMs', o.lockTimeoutMs, FROM_0),
  }
  const native = Object.fromEntries(Object.entries(stated).filter(([, value]) => value !== undefined))
  return { native, signal: signalOf(o as CallOptions) }
}

function modeOf(readOnly: boolean, create: unknown): NonNullable<NativeOpenOptions['mode']> {
  if (readOnly) {
    if (create === undefined || create === 'never') return 'read-only'
    throw invalid(`readOnly and create: ${describe(create)} contradict each other`)
  }
  switch (create) {
    case undefined:
    case 'if-missing':
      return 'open-or-create'
    case 'never':
      return 'open'
    case 'new':
      return 'create'
    default:
      throw invalid(`create is ${describe(create)}; use one of: 'if-missing', 'never', 'new'`)
  }
}

/** Options of a search, in the order the binding takes them. */
export interface Search {
  k: number | undefined
  efSearch: number | undefined
  recall: number | undefined
  exact: boolean | undefined
  radius: number | undefined
  vectors: boolean
  payloads: boolean
  signal: AbortSignal | undefined
  threads: number | undefined
}

const SEARCH = names(['k', 'efSearch', 'recall', 'exact', 'radius', 'include'])
const SEARCH_BATCH = names([...SEARCH.sync, 'threads'])
const DEFAULTS: Search = {
  k: undefined,
  efSearch: undefined,
  recall: undefined,
  exact: undefined,
  radius: undefined,
  vectors: false,
  payloads: false,
  signal: undefined,
  threads: undefined,
}

/** Checks the options of a search. */
export function searchOptions(
  options: SearchBatchOptions | undefined,
  batch = false,
  form: Form = 'async',
): Search {
  if (options === undefined) return DEFAULTS
  const o = toObject(options)
  checkNames(o, (batch ? SEARCH_BATCH : SEARCH)[form])
  const { radius, recall, include } = o
  if (radius !== undefined && typeof radius !== 'number') {
    throw invalid(`radius must be a number, not ${describe(radius)}`)
  }
  if (recall !== undefined && typeof recall !== 'number') {
    throw invalid(`recall must be a number, not ${describe(recall)}`)
  }
  if (include !== undefined) checkInclude(include)
  return {
    k: whole('k', o.k, FROM_0),
    efSearch: whole('efSearch', o.efSearch),
    recall,
    exact: flag('exact', o.exact),
    radius,
    vectors: include?.includes('vector') ?? false,
    payloads: include?.includes('payload') ?? false,
    signal: signalOf(o as CallOptions),
    threads: threads(o.threads),
  }
}

function checkInclude(include: readonly Include[]): void {
  const known = (name: unknown): boolean => name === 'vector' || name === 'payload'
  if (!Array.isArray(include) || !include.every(known)) {
    throw invalid(`include must be a list of 'vector' and 'payload', not ${describe(include)}`)
  }
}

/** What long calls take when they are asynchronous. */
const WATCHED = ['onProgress', 'signal']
const ADD_BATCH = names(['ids', 'payloads', 'threads'], WATCHED)

/** Checks the options of a batch insert. */
export function batchOptions<T extends IdType>(
  options: AddBatchOptions<T> | undefined,
  form: Form = 'async',
): AddBatchOptions<T> {
  const o = toObject(options)
  checkNames(o, ADD_BATCH[form])
  const { ids, payloads } = o
  return { ids, payloads, ...long(o) }
}

const COMPACT = names(['threads'], WATCHED)

/** Checks the options of a compaction. */
export function compactOptions(options: CompactOptions | undefined, form: Form = 'async'): CompactOptions {
  const o = toObject(options)
  checkNames(o, COMPACT[form])
  return long(o)
}

/** What every call that takes long can be told. */
function long(o: CompactOptions): CompactOptions {
  const { onProgress } = o
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalid(`onProgress must be a function, not ${describe(onProgress)}`)
  }
  return { onProgress, threads: threads(o.threads), signal: signalOf(o as CallOptions) }
}

const CHECK = names(['level'])

/** Checks the options of `check`. */
export function checkOptions(options: CheckOptions | undefined, form: Form = 'async'): CheckOptions {
  const o = toObject(options)
  checkNames(o, CHECK[form])
  return { level: text('level', o.level) as CheckLevel | undefined, signal: signalOf(o as CallOptions) }
}

const STATS = names(['hugePages'])

/** Checks the options of `stats`. */
export function statsOptions(options: StatsOptions | undefined, form: Form = 'async'): StatsOptions {
  const o = toObject(options)
  checkNames(o, STATS[form])
  return { hugePages: flag('hugePages', o.hugePages), signal: signalOf(o as CallOptions) }
}

/** The error for an option of the wrong type. */
function invalid(message: string): ChassisError {
  return new ChassisError('ERR_CHASSIS_INVALID_OPTION', message)
}
