/**
 * Loads the native library of this platform, and says what to do when it is not there.
 *
 * The generated `index.js` does the search: a library beside it (a build from source), then the package of the
 * platform. Its own error is a chain of every attempt; the useful part is turned into one message here.
 */
import { types } from 'node:util'

import type * as Binding from '../index.js'
import { ChassisError } from './errors.js'

function load(): typeof Binding {
  try {
    return require('../index.js') as typeof Binding
  } catch (error) {
    throw bindingNotFound(error)
  }
}

function bindingNotFound(error: unknown): ChassisError {
  const attempts = new Set<string>()
  let cause: unknown = error
  for (let depth = 0; types.isNativeError(cause) && depth < 20; depth++) {
    attempts.add(`  - ${cause.message.split('\n')[0]}`)
    cause = cause.cause
  }
  const message = [
    `no native library of @chassis/core for ${process.platform} ${process.arch} (${libc()}) could be loaded.`,
    `The package @chassis/core-${platformPackage()} should have been installed with this one. Remedies:`,
    '  1. install without --omit=optional or --no-optional;',
    '  2. remove node_modules and the lock file and install again: npm before 11.3 drops other platforms from the lock;',
    '  3. when installing for another machine, name it: npm ci --os=linux --cpu=arm64 --libc=musl.',
    'What was tried:',
    ...attempts,
  ].join('\n')
  return new ChassisError('ERR_CHASSIS_BINDING_NOT_FOUND', message, { cause: error })
}

function libc(): string {
  if (process.platform !== 'linux') return 'no libc to choose'
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}

function platformPackage(): string {
  const { platform, arch } = process
  if (platform === 'linux') return `linux-${arch}-${libc() === 'musl' ? 'musl' : 'gnu'}`
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

/** The generated binding. */
export const native = load()

export type NativeIndex = Binding.NativeIndex
export type NativeHits = Binding.NativeHits
export type NativeBatchHits = Binding.NativeBatchHits
export type NativeOpenOptions = Binding.NativeOpenOptions
export type CancelToken = Binding.CancelToken
