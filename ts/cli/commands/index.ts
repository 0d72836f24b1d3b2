/**
 * The list of commands. Each is loaded when it is asked for, so that the process starts fast.
 */
import type { Command } from '../command.js'

interface Entry {
  readonly name: string
  readonly summary: string
  load(): Promise<Command>
}

export const COMMANDS: readonly Entry[] = [
  {
    name: 'build',
    summary: 'make an index from a file of vectors, or add to one',
    load: async () => (await import('./build.js')).build,
  },
  {
    name: 'query',
    summary: 'search by a vector, by a stored record, or by a file of queries',
    load: async () => (await import('./query.js')).query,
  },
  {
    name: 'stats',
    summary: 'show what an index is and how large it is',
    load: async () => (await import('./stats.js')).stats,
  },
  {
    name: 'compact',
    summary: 'give back the space of deleted records and build the graph anew',
    load: async () => (await import('./compact.js')).compact,
  },
  {
    name: 'verify',
    summary: 'look for damage',
    load: async () => (await import('./verify.js')).verify,
  },
]

/** The command of this name. */
export async function loadCommand(name: string): Promise<Command | undefined> {
  return COMMANDS.find((command) => command.name === name)?.load()
}
