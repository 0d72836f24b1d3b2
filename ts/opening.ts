/**
 * Opening, and waiting for another writer to finish.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { cancellable } from './calls.js'
import { ChassisError } from './errors.js'
import { native } from './native.js'
import type { NativeIndex, NativeOpenOptions } from './native.js'

/** Milliseconds between two looks at the lock: the longest that an open is late. */
const LOOK = 10

/**
 * Opens a file, waiting up to `lockTimeoutMs` for its writer. It waits on a timer: a wait in the core would hold one of
 * the few threads of the pool all the while, and could not hear the signal.
 */
export async function open(
  path: string,
  { lockTimeoutMs, ...options }: NativeOpenOptions,
  signal: AbortSignal | undefined,
): Promise<NativeIndex> {
  const end = performance.now() + (lockTimeoutMs ?? 0)
  for (;;) {
    try {
      return await cancellable(signal, (token) => native.NativeIndex.open(path, options, token))
    } catch (error) {
      const left = end - performance.now()
      const isBusy = error instanceof ChassisError && error.code === 'ERR_CHASSIS_WRITER_BUSY'
      if (!isBusy || left <= 0) throw error
      // Aborted, it ends early, and the next try rejects with the reason.
      await sleep(Math.min(left, LOOK), undefined, { signal }).catch(() => {})
    }
  }
}
