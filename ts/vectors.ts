/**
 * Vectors on their way in. A `Float32Array` is taken as it is and an array of numbers is rounded to one; everything
 * else is refused, because a converted `Float64Array` or string would be a silent reinterpretation.
 */
import { types } from 'node:util'

import { ChassisError, describe } from './errors.js'
import { checkThere, lengthOf, readable, room } from './memory.js'

/** One vector as the binding takes it. */
export function toVector(value: unknown, what: string): Float32Array {
  if (types.isFloat32Array(value)) return readable(value, what)
  if (!Array.isArray(value)) throw notAVector(value, what)
  const length = value.length
  const vector = floats(length, what)
  fill(vector, 0, value, length, what)
  return vector
}

/** Vectors back to back. Rows of a list must have the index's dimensions each, not only together. */
export function toMatrix(value: unknown, dimensions: number, what: string): Float32Array {
  if (types.isFloat32Array(value)) return readable(value, what)
  if (!Array.isArray(value)) {
    throw invalid(
      `${what} must be a Float32Array of whole vectors or an array of vectors, not ${describe(value)}`,
    )
  }
  let matrix: Float32Array = new Float32Array()
  // Read once, here and of each row: what is read may change what is not read yet.
  const rows = value.length
  for (let row = 0; row < rows; row++) {
    const vector: unknown = value[row]
    const name = `${what}[${row}]`
    if (types.isFloat32Array(vector)) checkThere(vector, name)
    else if (!Array.isArray(vector)) throw notAVector(vector, name)
    const length = Array.isArray(vector) ? vector.length : lengthOf(vector)
    if (length !== dimensions) {
      const text = `${name} has ${length} dimensions, the index ${dimensions}`
      throw new ChassisError('ERR_CHASSIS_DIMENSION_MISMATCH', text)
    }
    // Not before: a list without rows may be of any length.
    if (row === 0) matrix = floats(rows * dimensions, what)
    if (Array.isArray(vector)) fill(matrix, row * dimensions, vector, length, name)
    else matrix.set(vector, row * dimensions)
  }
  return matrix
}

function floats(length: number, what: string): Float32Array {
  return room(() => new Float32Array(length), length, what)
}

function fill(
  target: Float32Array,
  offset: number,
  values: readonly unknown[],
  length: number,
  what: string,
): void {
  for (let i = 0; i < length; i++) {
    const value = values[i]
    if (typeof value !== 'number')
      throw invalid(`${what} has ${describe(value)} at position ${i}, not a number`)
    target[offset + i] = value
  }
}

function notAVector(value: unknown, what: string): ChassisError {
  const remedy = ArrayBuffer.isView(value) ? '; convert it with Float32Array.from' : ''
  return invalid(`${what} must be a Float32Array or an array of numbers, not ${describe(value)}${remedy}`)
}

function invalid(message: string): ChassisError {
  return new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', message)
}
