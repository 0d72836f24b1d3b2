/**
 * The memory behind typed arrays, which may be gone or shared.
 */
import { types } from 'node:util'

import { ChassisError } from './errors.js'

/** An array as the binding may read it: its memory is there, and no other thread changes it meanwhile. */
export function readable<A extends Float32Array | BigUint64Array>(array: A, what: string): A {
  checkThere(array, what)
  return types.isSharedArrayBuffer(array.buffer) ? (array.slice() as A) : array
}

/** Refuses an array whose memory is gone, which looks like an empty one. */
export function checkThere(array: Float32Array | BigUint64Array | Uint8Array, what: string): void {
  if (array.length > 0) return
  try {
    array.keys()
  } catch (cause) {
    const text = `${what} has lost its memory: the buffer was transferred, or resized to end before it`
    throw new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', text, { cause })
  }
}
