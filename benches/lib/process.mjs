/**
 * Child processes that answer one message at a time, and the figures a process can tell about itself.
 */
import fs from 'node:fs'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url))

let taskset
function hasTaskset() {
  taskset ??= process.platform === 'linux' && spawnSync('taskset', ['--version']).status === 0
  return taskset
}

/**
 * Starts a worker for one engine. With `core` it runs on that core only (where `taskset` exists) and the usual
 * thread pools are told to use one thread.
 */
export function startWorker(engine, { core } = {}) {
  const node = [process.execPath, '--expose-gc', '--max-old-space-size=12000', WORKER, engine]
  const pinned = core !== undefined && hasTaskset()
  const [command, ...args] = pinned ? ['taskset', '-c', String(core), ...node] : node
  const single = core === undefined ? {} : { RAYON_NUM_THREADS: '1', OMP_NUM_THREADS: '1' }
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
    env: { ...process.env, ...single },
  })
  let waiting
  child.on('message', ({ error, value }) =>
    error ? waiting?.reject(new Error(`${engine}: ${error}`)) : waiting?.resolve(value),
  )
  child.on('exit', (code, signal) =>
    waiting?.reject(new Error(`${engine}: worker ended (${signal ?? code})`)),
  )
  child.on('error', (error) => waiting?.reject(error))
  return {
    /** Sends one request and waits for its answer. */
    ask: (operation, argument) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        child.send({ operation, argument })
      }),
    /** Ends the worker. */
    stop: () => {
      waiting = undefined
      child.kill('SIGKILL')
    },
  }
}

/** Whether `startWorker` can pin. */
export const canPin = hasTaskset

/** CPU seconds of this process so far, all threads. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Resident memory in bytes: now, its anonymous and file-backed parts, and the peak since `resetPeak`. */
export function memory() {
  const usage = { rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }
  let status
  try {
    status = fs.readFileSync('/proc/self/status', 'utf8')
  } catch {
    return usage
  }
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024
  return {
    rss: field('VmRSS'),
    peak: field('VmHWM'),
    anonymous: field('RssAnon'),
    fileBacked: field('RssFile'),
  }
}

/** Makes the peak count from here; Linux only, elsewhere the peak is of the whole process. */
export function resetPeak() {
  try {
    fs.writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    return
  }
}

/** Bytes in all files under a path. */
export function bytesUnder(place) {
  const stat = fs.statSync(place)
  if (!stat.isDirectory()) return stat.size
  return fs.readdirSync(place).reduce((sum, entry) => sum + bytesUnder(path.join(place, entry)), 0)
}
