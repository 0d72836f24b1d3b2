/**
 * Sets of other widths from the 512 dimensions of use512-wordnet: s384 through a random orthonormal projection,
 * s1536 from neighboring rows side by side. Stand-ins for models of those widths, not their output.
 */
import { readRows, writeRows } from '../lib/files.mjs'
import { normal } from '../lib/random.mjs'
import { makeUnit } from '../lib/rows.mjs'

const SOURCE = 'use512-wordnet'
const SEED = 7
const PROJECTED = 384
const NEIGHBORS = 3
// Rows that are multiplied in one go, so that they stay in the second cache while the matrix passes by.
const BLOCK = 32
// Sums that run beside each other: one alone would wait for each addition.
const LANES = 4

/** `count` random directions at right angles to each other, rounded to float32, row after row. */
function orthonormalRows(count, dimensions) {
  const next = normal(SEED)
  const matrix = Float64Array.from({ length: count * dimensions }, next)
  const rows = Array.from({ length: count }, (_, i) => matrix.subarray(i * dimensions, (i + 1) * dimensions))
  rows.forEach((row, i) => {
    // Twice, because after one pass rounding leaves an angle that the next rows would inherit.
    for (let pass = 0; pass < 2; pass++) for (let j = 0; j < i; j++) removePart(row, rows[j])
    let squares = 0
    for (const value of row) squares += value * value
    const length = Math.sqrt(squares)
    for (let k = 0; k < dimensions; k++) row[k] /= length
  })
  return matrix.map(Math.fround)
}

/** Takes from `row` what of it lies along `direction`. */
function removePart(row, direction) {
  let dot = 0
  for (let k = 0; k < row.length; k++) dot += row[k] * direction[k]
  for (let k = 0; k < row.length; k++) row[k] -= dot * direction[k]
}

/**
 * Each row times each direction. A sum runs over the dimensions in their order, in float64, and is rounded once:
 * another order would give other last bits and another checksum.
 */
function multiply(values, dimensions, matrix) {
  const width = matrix.length / dimensions
  const rows = values.length / dimensions
  const products = new Float32Array(rows * width)
  for (let first = 0; first < rows; first += BLOCK) {
    const end = Math.min(first + BLOCK, rows)
    const block = Float64Array.from(values.subarray(first * dimensions, end * dimensions))
    for (let i = 0; i < width; i += LANES) {
      const directions = matrix.subarray(i * dimensions, (i + LANES) * dimensions)
      for (let row = first; row < end; row++)
        multiplyRow(block, (row - first) * dimensions, dimensions, directions, products, row * width + i)
    }
  }
  return products
}

/** Four products of one row. */
function multiplyRow(block, at, dimensions, directions, products, to) {
  let [a, b, c, d] = [0, 0, 0, 0]
  for (let k = 0; k < dimensions; k++) {
    const value = block[at + k]
    a += value * directions[k]
    b += value * directions[k + dimensions]
    c += value * directions[k + 2 * dimensions]
    d += value * directions[k + 3 * dimensions]
  }
  products[to] = a
  products[to + 1] = b
  products[to + 2] = c
  products[to + 3] = d
}

/** Writes s384.f32bin. A projection keeps angles nearly, and with them how hard the set is. */
export function makeS384({ out }) {
  const { values, dimensions } = readRows(out, SOURCE)
  const projected = multiply(values, dimensions, orthonormalRows(PROJECTED, dimensions))
  writeRows(out, 's384', makeUnit(projected, PROJECTED), PROJECTED, {
    source: `${SOURCE}, random orthonormal projection ${dimensions} -> ${PROJECTED}, seed ${SEED}`,
    metric: 'cosine',
  })
}

/** Writes s1536.f32bin. Row i is rows i, i + 1 and i + 2 of the source, as a chunk of text with what follows it. */
export function makeS1536({ out }) {
  const { values, rows, dimensions } = readRows(out, SOURCE)
  const wide = NEIGHBORS * dimensions
  const windows = new Float32Array((rows - NEIGHBORS + 1) * wide)
  for (let row = 0; row * wide < windows.length; row++)
    windows.set(values.subarray(row * dimensions, row * dimensions + wide), row * wide)
  // The rotation keeps every distance, and hides the three parts from engines that cut vectors into pieces.
  const rotated = multiply(windows, wide, orthonormalRows(wide, wide))
  writeRows(out, 's1536', makeUnit(rotated, wide), wide, {
    source: `${SOURCE}, ${NEIGHBORS} neighboring rows side by side, random rotation, seed ${SEED}`,
    metric: 'cosine',
  })
}
