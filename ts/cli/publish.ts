/**
 * Building a new index beside its target and putting it in place in one step.
 *
 * Until the last step the target is untouched, and that step is a rename (or, where nothing may be replaced, a hard
 * link): at every moment the target is the old index or the whole new one. What a killed build leaves behind is a
 * hidden file beside the target, which the next build of the same target removes.
 */
import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs'
import path from 'node:path'

import { VectorIndex } from '../index.js'
import { CliError, Exit } from './errors.js'

const SUFFIX = '.building'

/** A hidden name beside the target, one per process. */
export function temporaryPath(target: string): string {
  return path.join(path.dirname(target), `.${path.basename(target)}.${process.pid}${SUFFIX}`)
}

export function removeTemporary(temporary: string): void {
  rmSync(temporary, { force: true })
}

/**
 * Removes what killed builds of this target left. A file whose writer lock is taken belongs to a build that runs and
 * stays.
 */
export function removeLeftovers(target: string): void {
  const folder = path.dirname(target)
  const start = `.${path.basename(target)}.`
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return
  }
  for (const name of names) {
    const between =
      name.startsWith(start) && name.endsWith(SUFFIX) ? name.slice(start.length, -SUFFIX.length) : ''
    if (!/^\d+$/.test(between)) continue
    const leftover = path.join(folder, name)
    if (!hasWriter(leftover)) removeTemporary(leftover)
  }
}

function hasWriter(file: string): boolean {
  try {
    VectorIndex.openSync(file, { create: 'never' }).closeSync()
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ERR_CHASSIS_WRITER_BUSY'
  }
}

/** Refuses a target that cannot become an index, before any work is done. */
export function checkTarget(target: string, replace: boolean): void {
  const hint = 'name the file to write: -o NAME.chassis'
  if (target.endsWith('/') || target.endsWith(path.sep)) {
    const message = `${target} ends in a slash, which names a folder and not a file`
    throw new CliError(Exit.usage, 'ERR_CHASSIS_INVALID_PATH', message, { hint })
  }
  checkFolder(target)
  const info = statSync(target, { throwIfNoEntry: false })
  if (info !== undefined && !info.isFile()) {
    const what = info.isDirectory() ? 'a folder' : 'a pipe, a socket or a device'
    throw new CliError(Exit.io, 'ERR_CHASSIS_NOT_A_FILE', `${target} is ${what}, not a file`, { hint })
  }
  // A link that leads nowhere is there too.
  if (!replace && lstatSync(target, { throwIfNoEntry: false }) !== undefined) throw alreadyExists(target)
}

function checkFolder(target: string): void {
  const folder = path.dirname(target)
  if (about(statSync, folder)?.isDirectory() === true) return
  let there = folder
  while (about(lstatSync, there) === undefined) there = path.dirname(there)
  const message = `there is no folder ${folder}`
  const found = about(statSync, there)
  if (found?.isDirectory() === true) {
    const hint = `make it first: mkdir -p ${/^[\w./-]+$/.test(folder) ? folder : JSON.stringify(folder)}`
    throw new CliError(Exit.notFound, 'ERR_CHASSIS_NOT_FOUND', message, { hint })
  }
  // No folder can be made there.
  const what = found === undefined ? 'a link to nothing' : 'a file'
  throw new CliError(Exit.notFound, 'ERR_CHASSIS_NOT_FOUND', `${message}: ${there} is ${what}`, {
    hint: 'write into a folder: -o FOLDER/NAME.chassis',
  })
}

/** What is there, if anything. Nothing is below a file. */
function about(look: typeof statSync, where: string): Stats | undefined {
  try {
    return look(where, { throwIfNoEntry: false })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw error
  }
}

/** The complaint about a target that is there and may not be replaced. */
export function alreadyExists(target: string): CliError {
  return new CliError(Exit.usage, 'ERR_CHASSIS_ALREADY_EXISTS', `${target} is there already`, {
    hint: 'pass --force to replace it or --append to add to it',
  })
}

/**
 * Takes the writer lock of an index that is about to be replaced, so that nobody is writing to it; nothing if there
 * is no index to lock. A file that is not an index is never replaced.
 */
export async function lockReplaced(target: string): Promise<VectorIndex | undefined> {
  const info = statSync(target, { throwIfNoEntry: false })
  if (info === undefined) return undefined
  try {
    return await VectorIndex.open(target, { create: 'never' })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // A damaged or newer index cannot be opened, and replacing it is what --force is for.
    const replaceable = ['ERR_CHASSIS_CORRUPT', 'ERR_CHASSIS_TRUNCATED', 'ERR_CHASSIS_UNSUPPORTED_VERSION']
    if (replaceable.includes(code as string)) return undefined
    if (code !== 'ERR_CHASSIS_NOT_A_DATABASE') throw error
    if (info.size === 0) return undefined
    throw new CliError(Exit.incompatible, code, `${target} is not a Chassis index, so it is not replaced`, {
      hint: 'remove the file yourself if it is not needed, or write to another path',
      cause: error,
    })
  }
}

/** Puts a complete index in place of the target, or where nothing is yet. */
export function publish(temporary: string, target: string, replace: boolean): void {
  if (replace) renameSync(temporary, target)
  else linkNew(temporary, target)
  syncFolder(path.dirname(target))
}

/** Fails if the target has appeared meanwhile, unlike a rename, which would replace it. */
function linkNew(temporary: string, target: string): void {
  try {
    linkSync(temporary, target)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'EEXIST') throw alreadyExists(target)
    // File systems without hard links: the check and the rename are two steps there.
    if (statSync(target, { throwIfNoEntry: false }) !== undefined) throw alreadyExists(target)
    renameSync(temporary, target)
    return
  }
  removeTemporary(temporary)
}

/** Makes the new name durable. Windows has no such call and orders names itself. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
