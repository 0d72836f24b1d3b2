/**
 * Exit codes and the one error type of the command line.
 *
 * The exit codes are a contract: workflows branch on them ("restore, verify, else rebuild"), so a number never
 * changes its meaning and a new failure gets one of these numbers.
 */

/** Every way the process can end. */
export const Exit = {
  /** Done; every gate passed. */
  ok: 0,
  /** A gate failed or differences were found; nothing else ever. */
  gate: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** The input data is wrong; the first bad row is named. */
  input: 3,
  /** The index (or another file that was named) is not there. */
  notFound: 4,
  /** The index is damaged or cut short. */
  corrupt: 5,
  /** The file's format, dimensions, metric or model do not fit. */
  incompatible: 6,
  /** Another writer holds the index. */
  locked: 7,
  /** The operating system refused: permissions, read-only, disk full. */
  io: 8,
  /** A bug in Chassis. */
  internal: 70,
  /** Stopped by a signal; the index is the old one or the new one. */
  interrupted: 130,
} as const

export type ExitCode = (typeof Exit)[keyof typeof Exit]

/** Facts about an error that only its JSON form carries, such as the row it was found in. */
export type ErrorDetails = Record<string, string | number | undefined>

/** A failure with everything a person and a program need: a stable code, a sentence, a remedy, an exit code. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly code: string
  readonly exit: ExitCode
  readonly hint: string | undefined
  readonly details: ErrorDetails

  constructor(
    exit: ExitCode,
    code: string,
    message: string,
    options: { hint?: string | undefined; details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.exit = exit
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? {}
  }
}

/** The command line is wrong; `hint` says how to fix it. */
export function usageError(message: string, hint: string): CliError {
  return new CliError(Exit.usage, 'ERR_CHASSIS_USAGE', message, { hint })
}

/** The input data is wrong; `details` names the place. */
export function inputError(message: string, hint?: string, details?: ErrorDetails): CliError {
  return new CliError(Exit.input, 'ERR_CHASSIS_BAD_INPUT', message, { hint, details: details ?? {} })
}

/** A line or row of the input data is wrong. */
export function rowError(
  source: string,
  unit: 'line' | 'row',
  number: number,
  problem: string,
  hint?: string,
): CliError {
  return inputError(`${source}, ${unit} ${number}: ${problem}`, hint, { source, [unit]: number })
}

/** The process was asked to stop. */
export function interrupted(): CliError {
  return new CliError(Exit.interrupted, 'ERR_CHASSIS_CANCELLED', 'interrupted; nothing was changed')
}

/** What each code of the engine means to a caller of the command line. */
const ENGINE: Record<string, readonly [ExitCode, string?]> = {
  ERR_CHASSIS_INVALID_ARGUMENT: [Exit.usage],
  ERR_CHASSIS_INVALID_OPTION: [Exit.usage],
  ERR_CHASSIS_INVALID_PATH: [Exit.usage],
  ERR_CHASSIS_ALREADY_EXISTS: [Exit.usage, 'pass --force to replace it or --append to add to it'],
  ERR_CHASSIS_INVALID_VECTOR: [Exit.input, 'pass --on-bad-vector=skip to leave such rows out'],
  ERR_CHASSIS_ZERO_NORM: [Exit.input, 'cosine needs a direction; leave the row out or use another metric'],
  ERR_CHASSIS_INVALID_QUERY: [Exit.input],
  ERR_CHASSIS_INVALID_ID: [Exit.input],
  ERR_CHASSIS_DUPLICATE_ID: [Exit.input, 'ids must be unique; remove or rename one of the records'],
  ERR_CHASSIS_CAPACITY_EXCEEDED: [Exit.input, 'split the data over several indexes'],
  ERR_CHASSIS_NOT_FOUND: [Exit.notFound, 'check the path; `chassis build` makes an index'],
  ERR_CHASSIS_CORRUPT: [
    Exit.corrupt,
    'run `chassis verify --deep` for a list; rebuild it from the source data',
  ],
  ERR_CHASSIS_TRUNCATED: [Exit.corrupt, 'the copy is incomplete: fetch it again or rebuild it'],
  ERR_CHASSIS_DIMENSION_MISMATCH: [Exit.incompatible, '`chassis stats` shows the dimensions of the index'],
  ERR_CHASSIS_OPTION_MISMATCH: [Exit.incompatible, '`chassis stats` shows the options of the index'],
  ERR_CHASSIS_NOT_A_DATABASE: [Exit.incompatible, 'check the path: this file was not written by Chassis'],
  ERR_CHASSIS_UNSUPPORTED_VERSION: [Exit.incompatible, 'a newer Chassis wrote it: upgrade @chassis/core'],
  ERR_CHASSIS_WRITER_BUSY: [
    Exit.locked,
    'wait for the other writer or stop it; reading is possible meanwhile',
  ],
  ERR_CHASSIS_NOT_A_FILE: [Exit.io],
  ERR_CHASSIS_PERMISSION_DENIED: [Exit.io],
  ERR_CHASSIS_READ_ONLY: [Exit.io],
  ERR_CHASSIS_DISK_FULL: [Exit.io, 'free some space; the last commit is untouched'],
  ERR_CHASSIS_IO: [Exit.io],
  ERR_CHASSIS_POISONED: [Exit.io],
  ERR_CHASSIS_COMMIT_INDETERMINATE: [Exit.io, 'run the command again: it finds the old or the new commit'],
  ERR_CHASSIS_UNSUPPORTED_FILESYSTEM: [Exit.io],
  ERR_CHASSIS_SUPERSEDED: [Exit.io, 'the file was replaced meanwhile; run the command again'],
  ERR_CHASSIS_BINDING_NOT_FOUND: [Exit.internal],
  ERR_CHASSIS_CANCELLED: [Exit.interrupted],
}

const BUG = 'this is a bug in Chassis: please report it with the command and this message'

/** Any thrown value as a [`CliError`]: engine codes and system errors keep their meaning, the rest is a bug. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error
  if (!(error instanceof Error)) {
    return new CliError(Exit.internal, 'ERR_CHASSIS_INTERNAL', String(error), { hint: BUG, cause: error })
  }
  if (error.name === 'AbortError') return interrupted()
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const known = ENGINE[code]
  if (known !== undefined) {
    return new CliError(known[0], code, withoutCode(error.message, code), { hint: known[1], cause: error })
  }
  if ('syscall' in error) return systemError(error, code)
  const internal = code.startsWith('ERR_CHASSIS_') ? code : 'ERR_CHASSIS_INTERNAL'
  return new CliError(Exit.internal, internal, error.message, { hint: BUG, cause: error })
}

/** An error of `node:fs`. */
function systemError(error: Error, code: string): CliError {
  if (code === 'ENOENT')
    return new CliError(Exit.notFound, 'ERR_CHASSIS_NOT_FOUND', plain(error), { cause: error })
  const stable =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'ERR_CHASSIS_DISK_FULL'
      : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? 'ERR_CHASSIS_PERMISSION_DENIED'
        : 'ERR_CHASSIS_IO'
  return new CliError(Exit.io, stable, plain(error), { cause: error })
}

/** `EXDEV: cross-device link not permitted, link 'x' -> 'y'` as `cross-device link not permitted: x -> y`. */
function plain(error: NodeJS.ErrnoException & { dest?: string }): string {
  const said = /^[A-Z0-9]+: (.+?), \w+/.exec(error.message)?.[1] ?? error.message
  const paths = [error.path, error.dest].filter((path) => path !== undefined)
  return paths.length === 0 ? said : `${said}: ${paths.join(' -> ')}`
}

function withoutCode(message: string, code: string): string {
  return message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message
}
