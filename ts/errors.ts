/**
 * The one error class, its closed list of codes, and the way from the binding's errors to it.
 */
import { types } from 'node:util'

/**
 * Every code, in the order of `docs/errors.md`. The codes are stable and the same in every language; only the
 * last one belongs to this package alone.
 */
export const CHASSIS_ERROR_CODES = [
  'ERR_CHASSIS_INVALID_ARGUMENT',
  'ERR_CHASSIS_INVALID_OPTION',
  'ERR_CHASSIS_INVALID_VECTOR',
  'ERR_CHASSIS_INVALID_QUERY',
  'ERR_CHASSIS_ZERO_NORM',
  'ERR_CHASSIS_DIMENSION_MISMATCH',
  'ERR_CHASSIS_INVALID_ID',
  'ERR_CHASSIS_DUPLICATE_ID',
  'ERR_CHASSIS_CAPACITY_EXCEEDED',
  'ERR_CHASSIS_OPTION_MISMATCH',
  'ERR_CHASSIS_NOT_FOUND',
  'ERR_CHASSIS_ALREADY_EXISTS',
  'ERR_CHASSIS_NOT_A_DATABASE',
  'ERR_CHASSIS_UNSUPPORTED_VERSION',
  'ERR_CHASSIS_CORRUPT',
  'ERR_CHASSIS_TRUNCATED',
  'ERR_CHASSIS_NOT_A_FILE',
  'ERR_CHASSIS_PERMISSION_DENIED',
  'ERR_CHASSIS_READ_ONLY',
  'ERR_CHASSIS_INVALID_PATH',
  'ERR_CHASSIS_DISK_FULL',
  'ERR_CHASSIS_IO',
  'ERR_CHASSIS_POISONED',
  'ERR_CHASSIS_COMMIT_INDETERMINATE',
  'ERR_CHASSIS_WRITER_BUSY',
  'ERR_CHASSIS_UNSUPPORTED_FILESYSTEM',
  'ERR_CHASSIS_CLOSED',
  'ERR_CHASSIS_FORKED_HANDLE',
  'ERR_CHASSIS_SUPERSEDED',
  'ERR_CHASSIS_CANCELLED',
  'ERR_CHASSIS_INTERNAL',
  'ERR_CHASSIS_BINDING_NOT_FOUND',
] as const

/**
 * What went wrong, for programs.
 *
 * A closed union: a `switch` over it can be exhaustive. An aborted call does not reject with one of these but with
 * its signal's `reason`.
 */
export type ChassisErrorCode = (typeof CHASSIS_ERROR_CODES)[number]

/**
 * Every failure of this package, thrown by `…Sync` methods and rejected with by the others.
 *
 * @example
 * ```ts
 * try {
 *   await index.add({ id: 7, vector })
 * } catch (error) {
 *   if (error instanceof ChassisError && error.code === 'ERR_CHASSIS_DUPLICATE_ID') return
 *   throw error
 * }
 * ```
 */
export class ChassisError extends Error {
  /** What went wrong, for programs; stable across releases. */
  readonly code: ChassisErrorCode

  /**
   * @param code - What went wrong, for programs.
   * @param message - The same for people: the offending value, the limit and the remedy.
   * @param options - `cause`: the error behind it, such as the operating system's.
   */
  constructor(code: ChassisErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}
// On the prototype, like the names of the built-in errors, so that it is no own property of each instance.
Object.defineProperty(ChassisError.prototype, 'name', {
  value: 'ChassisError',
  configurable: true,
  writable: true,
})

const CODED = /^(ERR_CHASSIS_[A-Z_]+): ([\s\S]*)$/

/**
 * The binding's error as a ChassisError. The code stands at the head of its message. In a realm of its own, as under
 * Jest, `Error` is not what the binding's errors are instances of.
 */
export function fromNative(error: unknown): unknown {
  if (!types.isNativeError(error) || error instanceof ChassisError) return error
  const coded = CODED.exec(error.message)
  // Without a code it comes from the conversion of an argument, before the core was reached.
  if (coded === null) return new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', error.message, { cause: error })
  const cause = types.isNativeError(error.cause) ? { cause: new Error(error.cause.message) } : undefined
  return new ChassisError(coded[1] as ChassisErrorCode, coded[2] as string, cause)
}

/** What may be asked of any object, one that refuses to answer among them. */
function className(value: object): string | undefined {
  try {
    const { name } = (value.constructor ?? {}) as { name?: unknown }
    return typeof name === 'string' && name !== '' && name.length <= 40 ? name : undefined
  } catch {
    return undefined
  }
}

/** Names a value in a message without printing all of it. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string')
    return value.length > 40 ? `a string of ${value.length} characters` : JSON.stringify(value)
  if (typeof value === 'object') return className(value) ?? 'an object'
  if (typeof value === 'function') return 'a function'
  const text = typeof value === 'bigint' ? `${value}n` : String(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
