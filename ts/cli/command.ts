/**
 * What a command is: a name, its options, a text of help, and a function that runs it.
 *
 * A new command is one file in `commands/` that exports a [`Command`] and one line in `commands/index.ts`.
 */
import type { Args, OptionSpecs } from './args.js'
import type { Output } from './output.js'

/** What every command can use while it runs. */
export interface Context {
  readonly args: Args
  readonly output: Output
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal
  /**
   * Registers work that must be done even if the command has no time to wind down, such as removing a temporary
   * file. It must be synchronous. The function returned takes the registration back.
   */
  onKill(cleanup: () => void): () => void
}

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** What follows `chassis NAME` in the usage line. */
  readonly usage: string
  /** How many positional arguments there may be, and what they are called in messages. */
  readonly positionals: readonly { readonly name: string; readonly optional?: boolean }[]
  readonly options: OptionSpecs
  /** Paragraphs below the options. */
  readonly notes?: readonly string[]
  readonly examples: readonly string[]
  /** Runs it. What it resolves to is the exit code; nothing means 0. Failures are thrown. */
  run(context: Context): Promise<number | void>
}
