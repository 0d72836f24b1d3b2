/**
 * Runs the command line as its users do: the built program, in a process of its own, with its output in pipes.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The built program. */
export const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

export interface Ended {
  /** The exit code, or the signal's name if it ended the process. */
  readonly exit: number | NodeJS.Signals
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

interface StartOptions {
  readonly cwd?: string
  /** Where stdout leads in place of a pipe: the number of an open file. */
  readonly stdout?: number
}

export function start(args: readonly string[], { cwd, stdout }: StartOptions = {}): Running {
  const env = { ...process.env, NO_COLOR: '1' }
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env,
    stdio: ['pipe', stdout ?? 'pipe', 'pipe'],
  })
  const text = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (data: string) => (text.stdout += data))
  child.stderr?.setEncoding('utf8').on('data', (data: string) => (text.stderr += data))
  // A command may end before it has read all of its input.
  child.stdin?.on('error', () => {})
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ exit: code ?? signal ?? -1, ...text }))
  })
  return { child, ended }
}

/** Runs a command to its end. */
export function chassis(
  args: readonly string[],
  options: StartOptions & { input?: string | Uint8Array } = {},
): Promise<Ended> {
  const { child, ended } = start(args, options)
  child.stdin?.end(options.input ?? '')
  return ended
}

/** Runs a command with `--json` and gives its one object, whatever the exit code. */
export async function json(args: readonly string[], options: { cwd?: string; input?: string } = {}) {
  const ended = await chassis([...args, '--json'], options)
  if (ended.stderr !== '') throw new Error(`stderr: ${ended.stderr}`)
  return { ...ended, data: JSON.parse(ended.stdout) as Record<string, unknown> }
}

/** Lines of jsonl with ids from `first`. */
export function jsonlRows(rows: number, dimensions: number, first = 0): string {
  const line = (id: number) => {
    const vector = Array.from({ length: dimensions }, (_, d) =>
      Math.sin(id * 1.7 + d * d + 1).toFixed(5),
    ).join(',')
    return `{"id":${id},"vector":[${vector}],"payload":{"title":"record ${id}"}}\n`
  }
  return Array.from({ length: rows }, (_, i) => line(first + i)).join('')
}
