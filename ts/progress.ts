/**
 * A caller's progress callback, kept from harming the work it watches.
 */
import { inspect } from 'node:util'

import type { CancelToken } from './native.js'

/**
 * Hands ticks on: none after the end, exactly one at the end. A callback that fails, by throwing or by a promise that
 * rejects, cancels the work; when that is too late it is a warning of the process, as rows that are added stay.
 */
export class Progress {
  readonly #callback: (done: number, total: number) => unknown
  readonly #total: number
  #last = -1
  #ended = false
  #failed: { value: unknown } | undefined

  constructor(callback: (done: number, total: number) => unknown, total = 0) {
    this.#callback = callback
    this.#total = total
  }

  /** The callback for the binding. An exception that left it would end the process. */
  ticker(cancel: CancelToken): (done: number, total: number) => void {
    return (done, total) => {
      if (this.#ended || this.#failed !== undefined) return
      this.#last = done
      this.#tick(done, total, (value) => {
        if (this.#ended || this.#failed !== undefined) return warn(value)
        this.#failed = { value }
        cancel.cancel()
      })
    }
  }

  /**
   * The last tick: the work is done by now.
   *
   * @param total - How much it was, when that was not known before.
   */
  end(total = this.#total): void {
    this.#ended = true
    if (this.#failed !== undefined) warn(this.#failed.value)
    else if (this.#last !== total) this.#tick(total, total, warn)
  }

  /** The work failed with this error; gives the one to reject with. A callback that failed is why it was cancelled. */
  fail(error: unknown): unknown {
    this.#ended = true
    return this.#failed === undefined ? error : this.#failed.value
  }

  #tick(done: number, total: number, failed: (value: unknown) => void): void {
    try {
      Promise.resolve(this.#callback(done, total)).catch(failed)
    } catch (value) {
      failed(value)
    }
  }
}

/** Awaits work that a callback may watch, and have cancelled. */
export async function watched<V>(progress: Progress | undefined, work: Promise<V>): Promise<V> {
  try {
    return await work
  } catch (error) {
    throw progress === undefined ? error : progress.fail(error)
  }
}

function warn(value: unknown): void {
  const message = 'a progress callback failed when it could not cancel its call any more'
  process.emitWarning(message, { type: 'ChassisWarning', detail: inspect(value) })
}
