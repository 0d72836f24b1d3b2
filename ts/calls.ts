/**
 * How calls run: errors made typed, signals heard, writes one after another, and closing only when nothing runs.
 */
import { ChassisError, fromNative } from './errors.js'
import { copyOf } from './memory.js'
import { native } from './native.js'
import type { CancelToken } from './native.js'

/** Makes a native call whose errors are ChassisErrors. */
export function sync<V>(call: () => V): V {
  try {
    return call()
  } catch (error) {
    throw fromNative(error)
  }
}

/** What is to be done when a signal fires. */
const hearers = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Acts when a signal fires, until the function it gives is called. All calls with one signal share one listener: Node
 * takes more than ten for a leak, and warns.
 */
function hear(signal: AbortSignal, act: () => void): () => void {
  const acts = hearers.get(signal) ?? new Set()
  if (acts.size === 0) {
    hearers.set(signal, acts)
    signal.addEventListener('abort', fire)
  }
  acts.add(act)
  return () => {
    acts.delete(act)
    if (acts.size === 0) signal.removeEventListener('abort', fire)
  }
}

function fire({ currentTarget }: Event): void {
  for (const act of hearers.get(currentTarget as AbortSignal) ?? []) act()
}

/**
 * Makes a native call that a signal can stop. The signal itself stays in JavaScript: napi's own adapter replaces
 * `signal.onabort` and overlooks signals that have fired already.
 */
export async function cancellable<V>(
  signal: AbortSignal | undefined,
  call: (token?: CancelToken) => Promise<V>,
): Promise<V> {
  if (signal === undefined) {
    try {
      return await call()
    } catch (error) {
      throw fromNative(error)
    }
  }
  signal.throwIfAborted()
  const token = new native.CancelToken()
  const unhear = hear(signal, () => token.cancel())
  try {
    return await call(token)
  } catch (error) {
    const typed = fromNative(error)
    if (signal.aborted && typed instanceof ChassisError && typed.code === 'ERR_CHASSIS_CANCELLED')
      throw signal.reason
    throw typed
  } finally {
    unhear()
  }
}

/** Rejects with the signal's reason when it fires before `turn` comes. */
async function turnOrAbort(turn: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) {
    await turn
    return
  }
  signal.throwIfAborted()
  let unhear = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    unhear = hear(signal, () => reject(signal.reason))
  })
  try {
    await Promise.race([turn, aborted])
  } finally {
    unhear()
  }
}

/** The asynchronous calls of one index. */
export class Calls {
  #running = 0
  #idle: (() => void) | undefined
  /** Writes that run or wait. */
  #writing = 0
  #tail: Promise<unknown> = Promise.resolve()

  /** A call that may run beside any other. */
  async read<V>(signal: AbortSignal | undefined, call: (token?: CancelToken) => Promise<V>): Promise<V> {
    this.#running++
    try {
      return await cancellable(signal, call)
    } finally {
      this.#end()
    }
  }

  /**
   * A call that runs after every write before it. The core would serialize them too, but each waiting one would hold
   * one of the few threads of the pool; and so `add` then `commit` without `await` between commits the addition.
   */
  async write<V>(signal: AbortSignal | undefined, call: (token?: CancelToken) => Promise<V>): Promise<V> {
    this.#running++
    const turn = this.#writing++ === 0 ? undefined : this.#tail
    let done = (): void => {}
    const end = new Promise<void>((resolve) => (done = resolve))
    this.#tail = turn === undefined ? end : turn.then(() => end)
    try {
      if (turn !== undefined) await turnOrAbort(turn, signal)
      return await cancellable(signal, call)
    } finally {
      this.#writing--
      done()
      this.#end()
    }
  }

  /**
   * What a write may keep until its turn comes. One that starts at once hands its inputs to the binding, which copies
   * them, before the caller can change them.
   */
  own<A extends Float32Array | BigUint64Array | string[]>(input: A): A {
    if (this.#writing === 0) return input
    return (Array.isArray(input) ? input.slice() : copyOf(input as Float32Array | BigUint64Array)) as A
  }

  #end(): void {
    if (--this.#running === 0) this.#idle?.()
  }

  /** Resolves once nothing runs or waits. Called once, when no call can start any more. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }
}
