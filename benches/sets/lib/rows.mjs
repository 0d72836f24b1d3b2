/** Rows of float32 that stand back to back in one array: picking, comparing, making them one long. */
import { createHash } from 'node:crypto'

/** The rows with these numbers, in their order. */
export function pickRows(values, dimensions, numbers) {
  const picked = new Float32Array(numbers.length * dimensions)
  numbers.forEach((row, i) =>
    picked.set(values.subarray(row * dimensions, (row + 1) * dimensions), i * dimensions),
  )
  return picked
}

/** Makes every row one long, in place; a row of zeros stays as it is. */
export function makeUnit(values, dimensions) {
  for (let start = 0; start < values.length; start += dimensions) {
    const end = start + dimensions
    let squares = 0
    for (let i = start; i < end; i++) squares += values[i] * values[i]
    const length = Math.sqrt(squares) || 1
    for (let i = start; i < end; i++) values[i] /= length
  }
  return values
}

/**
 * Numbers of the rows to keep: none of zeros, which have no direction, and of rows equal to the bit only the
 * first, because which of two equal rows an engine finds would count as an error.
 */
export function distinctRows(values, dimensions) {
  const seen = new Set()
  const numbers = []
  for (let row = 0; row < values.length / dimensions; row++) {
    const one = values.subarray(row * dimensions, (row + 1) * dimensions)
    if (one.every((value) => value === 0)) continue
    // Digests, because the rows themselves as keys would take as much memory as the set again.
    const bytes = new Uint8Array(one.buffer, one.byteOffset, one.byteLength)
    const digest = createHash('sha256').update(bytes).digest('base64')
    if (seen.has(digest)) continue
    seen.add(digest)
    numbers.push(row)
  }
  return numbers
}
