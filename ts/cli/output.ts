/**
 * The two streams of a command: data on stdout, everything else on stderr.
 *
 * With `--json` every line of stdout is one JSON object with a `schema` tag, errors included, and stderr holds
 * nothing but progress. A reader that closes its end of the pipe (`| head`) ends the output quietly.
 */
import { createWriteStream, fstatSync } from 'node:fs'
import type { Writable } from 'node:stream'

import { CliError, toCliError } from './errors.js'
import { Progress } from './progress.js'

/** What decides how a command speaks. */
export interface OutputOptions {
  readonly command: string
  readonly json: boolean
  readonly quiet: boolean
  readonly color: boolean
}

/** Values with no JSON of their own, in the form the facade takes them back: ids beyond 2^53 as decimal text. */
function plainValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') }
  return value
}

/** One JSON text on one line. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, plainValue)
}

/** Where data goes. To files not `process.stdout`, which drops in silence what a full disk leaves of a write. */
function dataStream(): Writable {
  return fstatSync(1).isFile() ? createWriteStream('', { fd: 1, autoClose: false }) : process.stdout
}

export class Output {
  readonly json: boolean
  readonly quiet: boolean
  readonly #command: string
  readonly #color: boolean
  readonly #out: Writable
  readonly #err: NodeJS.WriteStream
  #closed = false

  constructor(
    options: OutputOptions,
    out: Writable = dataStream(),
    err: NodeJS.WriteStream = process.stderr,
  ) {
    this.json = options.json
    this.quiet = options.quiet
    this.#command = options.command
    this.#color = options.color && err.isTTY === true
    this.#out = out
    this.#err = err
    // The write that failed rejects.
    out.on('error', () => {})
    err.on('error', () => {})
  }

  /** Whether stdout takes nothing more, as when its reader has gone; a command with more to print may stop. */
  get closed(): boolean {
    return this.#closed
  }

  /** Data: lines on stdout. Resolves when the stream can take more, or its reader has gone. */
  async lines(lines: readonly string[]): Promise<void> {
    if (this.#closed || lines.length === 0) return
    const error = await new Promise<unknown>((resolve) => this.#out.write(`${lines.join('\n')}\n`, resolve))
    if (!(error instanceof Error)) return
    this.#closed = true
    if ('code' in error && error.code === 'EPIPE') return
    const { exit, code, message } = toCliError(error)
    throw new CliError(exit, code, `standard output could not be written: ${message}`, { cause: error })
  }

  /** The object a command ends with: as one line of JSON, or as the lines made for people. */
  async result(data: Record<string, unknown>, text: () => readonly string[]): Promise<void> {
    if (this.json) await this.lines([this.tagged(data)])
    else await this.lines(text())
  }

  /** The object with the schema tag of this command in front. */
  tagged(data: Record<string, unknown>): string {
    return jsonLine({ schema: `chassis.${this.#command}/1`, ...data })
  }

  /** A remark on stderr. JSON says the same in its fields. */
  note(text: string): void {
    if (!this.quiet && !this.json) this.#err.write(`${text}\n`)
  }

  /** A warning on stderr. */
  warn(text: string): void {
    if (!this.quiet && !this.json) this.#err.write(`${this.#paint('33', 'warning:')} ${text}\n`)
  }

  /** A bar on a terminal, silence elsewhere. */
  progress(label: string, unit: string): Progress {
    return new Progress(this.#err, {
      label,
      unit,
      shown: !this.quiet && this.#err.isTTY === true,
      color: this.#color,
    })
  }

  /**
   * The error that ends the command: JSON on stdout with `--json`, else, or when stdout takes nothing more, a
   * sentence and a remedy on stderr.
   */
  async error(error: CliError): Promise<void> {
    if (this.json && !this.#closed) {
      const { code, message, hint, exit, details } = error
      const data = {
        schema: 'chassis.error/1',
        command: this.#command,
        code,
        message,
        hint: hint ?? null,
        exit,
        ...details,
      }
      await this.lines([jsonLine(data)])
      return
    }
    this.#err.write(`${this.#paint('31', 'error:')} ${error.message}\n`)
    if (error.hint !== undefined) this.#err.write(`${this.#paint('2', ' hint:')} ${error.hint}\n`)
  }

  #paint(sgr: string, text: string): string {
    return this.#color ? `\u001b[${sgr}m${text}\u001b[0m` : text
  }
}
