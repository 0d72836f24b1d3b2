/**
 * A caller's progress callback, kept from harming the work it watches.
 */
import type { CancelToken } from './native.js'

/** Hands ticks on: none after the end, exactly one at the end, and what the callback throws cancels the work. */
export class Progress {
  readonly #callback: (done: number, total: number) => void
  #total: number
  #last = -1
  #ended = false
  /** What the callback threw, once it did. */
  thrown: { value: unknown } | undefined

  constructor(callback: (done: number, total: number) => void, total = 0) {
    this.#callback = callback
    this.#total = total
  }

  /** The callback for the binding. An exception that left it would end the process. */
  ticker(cancel: CancelToken): (done: number, total: number) => void {
    return (done, total) => {
      if (this.#ended || this.thrown !== undefined) return
      this.#last = done
      try {
        this.#callback(done, total)
      } catch (value) {
        this.thrown = { value }
        cancel.cancel()
      }
    }
  }

  /**
   * The last tick. The work is done by now, so what the callback throws here or threw too late is no failure of the call.
   *
   * @param total - How much it was, when that was not known before.
   */
  end(total = this.#total): void {
    this.#ended = true
    this.#total = total
    if (this.thrown !== undefined) throwLater(this.thrown.value)
    else if (this.#last !== this.#total) {
      try {
        this.#callback(this.#total, this.#total)
      } catch (value) {
        throwLater(value)
      }
    }
  }
}

function throwLater(value: unknown): void {
  queueMicrotask(() => {
    throw value
  })
}
