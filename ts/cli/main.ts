#!/usr/bin/env node
/**
 * The program `chassis`: finds the command, runs it, and ends with the exit code that `errors.ts` documents.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

import { COMMON, parse } from './args.js'
import type { Context } from './command.js'
import { COMMANDS, loadCommand } from './commands/index.js'
import { interrupted, toCliError, usageError } from './errors.js'
import { nearest } from './format.js'
import { commandHelp, programHelp } from './help.js'
import { jsonLine, Output } from './output.js'

/** How long a command has to wind down after a signal before the process ends without it. */
const GRACE_MS = 3000

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv
  const global = { json: argv.includes('--json'), quiet: false, color: useColor(argv.includes('--no-color')) }
  const output = new Output({ command: name ?? '', ...global })
  try {
    if (name === undefined) {
      process.stderr.write(`${programHelp(COMMANDS)}\n`)
      throw usageError('no command given', 'name one of the commands above')
    }
    if (['--version', '-V', 'version'].includes(name)) return await printVersion(output)
    if (['--help', '-h', 'help'].includes(name)) return await printHelp(output, rest[0])
    return await runCommand(output, name, rest)
  } catch (error) {
    const failure = toCliError(error)
    await output.error(failure)
    return failure.exit
  }
}

async function runCommand(global: Output, name: string, argv: readonly string[]): Promise<number> {
  const command = await loadCommand(name)
  if (command === undefined) throw unknownCommand(name)
  const args = parse(command, argv)
  if (args.flag('help')) return printHelp(global, name)
  args.integer('threads', 1, 1024)
  const output = new Output({
    command: name,
    json: args.flag('json'),
    quiet: args.flag('quiet'),
    color: useColor(args.flag('no-color')),
  })
  const signals = watchSignals()
  try {
    return (await command.run({ args, output, ...signals })) ?? 0
  } catch (error) {
    const failure = toCliError(error)
    await output.error(failure)
    return failure.exit
  }
}

/**
 * The first signal asks the command to stop, which takes it a moment. A second one, or a command that does not get
 * there, ends the process at once, after the cleanups that must not be left out.
 */
function watchSignals(): Pick<Context, 'signal' | 'onKill'> {
  const controller = new AbortController()
  const cleanups = new Set<() => void>()
  const kill = () => {
    for (const cleanup of cleanups) {
      try {
        cleanup()
      } catch {
        // The process ends either way, and nothing is in place yet that a failed cleanup could harm.
      }
    }
    process.exit(interrupted().exit)
  }
  const stop = () => {
    if (controller.signal.aborted) kill()
    controller.abort(interrupted())
    setTimeout(kill, GRACE_MS).unref()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  return {
    signal: controller.signal,
    onKill(cleanup) {
      cleanups.add(cleanup)
      return () => void cleanups.delete(cleanup)
    },
  }
}

function unknownCommand(name: string): Error {
  const near = nearest(
    name,
    COMMANDS.map((command) => command.name),
  )
  const known = 'run `chassis --help` for the list of commands'
  if (name.startsWith('-'))
    return usageError(`no command before ${name}`, `options follow the command; ${known}`)
  return usageError(
    `unknown command ${JSON.stringify(name)}`,
    near === undefined ? known : `did you mean ${near}? Or ${known}`,
  )
}

async function printHelp(output: Output, name: string | undefined): Promise<number> {
  const wanted = name === undefined || name in COMMON || name.startsWith('-') ? undefined : name
  if (wanted === undefined) {
    await output.lines([programHelp(COMMANDS)])
    return 0
  }
  const command = await loadCommand(wanted)
  if (command === undefined) throw unknownCommand(wanted)
  await output.lines([commandHelp(command)])
  return 0
}

async function printVersion(output: Output): Promise<number> {
  const manifest = JSON.parse(readFileSync(path.join(__dirname, '../../package.json'), 'utf8')) as {
    version: string
  }
  const { version } = manifest
  await output.lines([
    output.json ? jsonLine({ schema: 'chassis.version/1', version }) : `chassis ${version}`,
  ])
  return 0
}

function useColor(refused: boolean): boolean {
  return !refused && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb'
}

// `exit` rather than a return: nothing that a command leaves open may keep a finished process alive.
void main(process.argv.slice(2)).then((code) => process.exit(code))
