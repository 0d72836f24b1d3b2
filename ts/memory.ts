/**
 * The memory behind typed arrays, which may be gone or shared, or more than there is.
 */
import { types } from 'node:util'

import { ChassisError } from './errors.js'

type Numbers = Float32Array | BigUint64Array | Uint8Array

const typedArray = Object.getPrototypeOf(Float32Array.prototype) as Float32Array
const lengthGetter = Object.getOwnPropertyDescriptor(typedArray, 'length')?.get

/** The length of an array: that of its memory, whatever a class derived from it says. */
export function lengthOf(array: Numbers): number {
  return Reflect.apply(lengthGetter as () => number, array, []) as number
}

/** An array as the binding may read it: its memory is there, and no other thread changes it meanwhile. */
export function readable<A extends Float32Array | BigUint64Array>(array: A, what: string): A {
  checkThere(array, what)
  return types.isSharedArrayBuffer(array.buffer) ? copyOf(array) : array
}

/** A copy of the caller's array. Not `slice`, which asks a derived class for the memory. */
export function copyOf<A extends Float32Array | BigUint64Array>(array: A): A {
  checkThere(array, 'an array')
  return (types.isFloat32Array(array) ? new Float32Array(array) : new BigUint64Array(array)) as A
}

/** Refuses an array whose memory is gone, which looks like an empty one. */
export function checkThere(array: Numbers, what: string): void {
  if (lengthOf(array) > 0) return
  try {
    Reflect.apply(typedArray.keys, array, [])
  } catch (cause) {
    const text = `${what} has lost its memory: the buffer was transferred, or resized to end before it`
    throw new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', text, { cause })
  }
}

/** Room for what a list says it holds. One with holes may say anything. */
export function room<A>(make: () => A, length: number, what: string): A {
  try {
    return make()
  } catch (cause) {
    const text = `${what} would take ${length} numbers, for which there is no memory`
    throw new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', text, { cause })
  }
}
