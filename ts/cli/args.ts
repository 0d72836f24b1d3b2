/**
 * The command line as typed values. Every complaint says what is wrong and how to write it right.
 */
import { parseArgs } from 'node:util'

import type { Command } from './command.js'
import { CliError, usageError } from './errors.js'
import { nearest } from './format.js'

export interface OptionSpec {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** The name of the value in the help, for options that take one. */
  readonly value?: string
  readonly help: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

/** Options that every command has. */
export const COMMON: OptionSpecs = {
  json: { type: 'boolean', help: 'print one JSON object a line, errors included' },
  quiet: { type: 'boolean', short: 'q', help: 'print data and errors only' },
  threads: { type: 'string', value: 'N', help: 'threads to use (default: all cores)' },
  'no-color': { type: 'boolean', help: 'no colors (also: the NO_COLOR variable)' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
}

/** The parsed arguments of one command. */
export class Args {
  readonly #command: string
  readonly #values: Readonly<Record<string, unknown>>
  readonly #positionals: readonly string[]

  constructor(command: string, values: Readonly<Record<string, unknown>>, positionals: readonly string[]) {
    this.#command = command
    this.#values = values
    this.#positionals = positionals
  }

  /** The positional argument at `position`. Those not marked optional are there. */
  positional(position: number): string {
    return this.#positionals[position] ?? ''
  }

  flag(name: string): boolean {
    return this.#values[name] === true
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined
  }

  string(name: string): string | undefined {
    const value = this.#values[name]
    if (typeof value !== 'string') return undefined
    if (value === '') throw this.#bad(name, value, 'a text that is not empty')
    return value
  }

  /** One of a few words. */
  choice<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.string(name)
    if (value === undefined) return undefined
    const found = allowed.find((word) => word === value)
    if (found === undefined) throw this.#bad(name, value, `one of: ${allowed.join(', ')}`)
    return found
  }

  integer(name: string, min: number, max: number): number | undefined {
    const value = this.string(name)
    if (value === undefined) return undefined
    const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN
    if (!(number >= min && number <= max))
      throw this.#bad(name, value, `a whole number from ${min} to ${max}`)
    return number
  }

  number(name: string): number | undefined {
    const value = this.string(name)
    if (value === undefined) return undefined
    const number = value.trim() === '' ? Number.NaN : Number(value)
    if (!Number.isFinite(number)) throw this.#bad(name, value, 'a number')
    return number
  }

  /** The complaint that two options contradict each other. */
  conflict(first: string, second: string): CliError {
    return usageError(`--${first} and --${second} cannot be used together`, 'leave one of them out')
  }

  #bad(name: string, value: string, expected: string): CliError {
    return usageError(`--${name} is ${JSON.stringify(value)}; it must be ${expected}`, this.#helpHint())
  }

  #helpHint(): string {
    return `run \`chassis ${this.#command} --help\` for its options`
  }
}

/** Parses what follows the command's name. */
export function parse(command: Command, argv: readonly string[]): Args {
  const specs = { ...command.options, ...COMMON }
  const help = `run \`chassis ${command.name} --help\` for its options`
  let parsed
  try {
    parsed = parseArgs({ args: [...argv], options: config(specs), allowPositionals: true, strict: true })
  } catch (error) {
    throw translate(error, specs, help)
  }
  const { values, positionals } = parsed
  if (values['help'] === true) return new Args(command.name, values, positionals)
  const needed = command.positionals.filter((positional) => positional.optional !== true)
  const missing = needed[positionals.length]
  if (missing !== undefined) {
    throw usageError(`${missing.name} is missing`, `usage: chassis ${command.name} ${command.usage}`)
  }
  const extra = positionals[command.positionals.length]
  if (extra !== undefined) {
    throw usageError(
      `unexpected argument ${JSON.stringify(extra)}`,
      `usage: chassis ${command.name} ${command.usage} (quote arguments that hold spaces)`,
    )
  }
  return new Args(command.name, values, positionals)
}

function config(specs: OptionSpecs): Record<string, { type: 'string' | 'boolean'; short?: string }> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { type, short }]) => [
      name,
      short === undefined ? { type } : { type, short },
    ]),
  )
}

/** The complaints of `parseArgs`, in our words and with a remedy. */
function translate(error: unknown, specs: OptionSpecs, help: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  const option = /'(-[^'\s<,]*)/.exec(error.message)?.[1] ?? 'an option'
  const long = /--[\w-]+/.exec(error.message)?.[0] ?? option
  switch (error.code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION': {
      const near = option.startsWith('--') ? nearest(option.slice(2), Object.keys(specs)) : undefined
      return usageError(
        `unknown option ${option}`,
        near === undefined ? help : `did you mean --${near}? Or ${help}`,
      )
    }
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE':
      if (error.message.includes('ambiguous')) {
        return usageError(
          `the value of ${long} starts with a dash`,
          `write it with an equals sign: ${long}=VALUE`,
        )
      }
      if (error.message.includes('does not take')) return usageError(`${long} takes no value`, help)
      return usageError(
        `${long} needs a value`,
        `write ${long} ${specs[long.slice(2)]?.value ?? 'VALUE'}; ${help}`,
      )
    default:
      return error
  }
}
