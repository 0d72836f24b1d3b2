/** From rows to a set: which rows are queries and which the base, and the exact neighbors of each query. */
import path from 'node:path'
import { describeSet, readBase, readQueries } from '../../lib/sets.mjs'
import { readRows, writeFile, writeRows } from '../lib/files.mjs'
import { permutation } from '../lib/random.mjs'
import { makeUnit, pickRows } from '../lib/rows.mjs'

export const QUERIES = 1000
const SEED = 1
const NEIGHBORS = 100
// Bytes of the base that meet all queries before the next ones come, so that they are read from the second cache.
const BLOCK_BYTES = 1 << 18

/** Takes queries out of the rows of NAME.f32bin at random; the others are the base, in random order too. */
export function holdOutQueries(out, name, metric) {
  const { values, rows, dimensions } = readRows(out, name)
  const order = permutation(rows, SEED)
  const about = { metric, source: name, seed: SEED }
  writeRows(out, `${name}.query`, pickRows(values, dimensions, order.subarray(0, QUERIES)), dimensions, about)
  writeRows(out, `${name}.base`, pickRows(values, dimensions, order.subarray(QUERIES)), dimensions, about)
}

/** Writes NAME.gt.ivecs: for each query its number of neighbors and their rows, nearest first. */
export function writeTruth(out, name) {
  const set = describeSet(out, name)
  const base = readBase(set)
  const queries = readQueries(set)
  if (set.metric === 'cosine') [base, ...queries].forEach((values) => makeUnit(values, set.dimensions))
  const lists = findNeighbors(base, queries, set)
  const truth = Int32Array.from(lists.flatMap((list) => [NEIGHBORS, ...list.rows]))
  writeFile(path.join(out, `${name}.gt.ivecs`), truth)
}

/** The nearest rows seen so far, nearest first; of equal ones the one that came first. */
class Nearest {
  distances = new Float64Array(NEIGHBORS).fill(Infinity)
  rows = new Int32Array(NEIGHBORS)

  offer(distance, row) {
    let at = NEIGHBORS - 1
    if (!(distance < this.distances[at])) return
    for (; at > 0 && this.distances[at - 1] > distance; at--) {
      this.distances[at] = this.distances[at - 1]
      this.rows[at] = this.rows[at - 1]
    }
    this.distances[at] = distance
    this.rows[at] = row
  }
}

/**
 * Brute force in float64, in blocks of the base. `benches/lib/sets.mjs` keeps a plain one to itself, for parts of sets;
 * on use512-wordnet that gave the same lists and took a third more CPU time.
 */
function findNeighbors(base, queries, { rows, dimensions, metric }) {
  const lists = queries.map(() => new Nearest())
  const wide = queries.map((query) => Float64Array.from(query))
  const blockRows = Math.max(1, Math.floor(BLOCK_BYTES / (8 * dimensions)))
  for (let first = 0; first < rows; first += blockRows) {
    const end = Math.min(first + blockRows, rows)
    const block = Float64Array.from(base.subarray(first * dimensions, end * dimensions))
    // |b - q|^2 / 2 without the part that is the same for all rows; of unit rows only the product matters.
    const half = Float64Array.from({ length: end - first }, (_, i) =>
      metric === 'l2' ? halfSquares(block, i * dimensions, dimensions) : 0,
    )
    wide.forEach((query, i) => {
      const list = lists[i]
      for (let row = first; row < end; row++)
        list.offer(half[row - first] - dot(query, block, (row - first) * dimensions), row)
    })
  }
  return lists
}

function halfSquares(block, at, dimensions) {
  let sum = 0
  for (let k = at; k < at + dimensions; k++) sum += block[k] * block[k]
  return sum / 2
}

/** Four sums beside each other, since one would wait for each addition. Every set has a multiple of four dimensions. */
function dot(query, block, at) {
  let [a, b, c, d] = [0, 0, 0, 0]
  for (let k = 0; k < query.length; k += 4, at += 4) {
    a += query[k] * block[at]
    b += query[k + 1] * block[at + 1]
    c += query[k + 2] * block[at + 2]
    d += query[k + 3] * block[at + 3]
  }
  return a + b + c + d
}
