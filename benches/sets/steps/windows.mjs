/**
 * Many rows for questions of scale: every run of four neighboring words of the WordNet texts, as the mean of their
 * GloVe vectors. Runs overlap, as chunks of documents do.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { readRows, writeRows } from '../lib/files.mjs'
import { distinctRows, makeUnit, pickRows } from '../lib/rows.mjs'
import { readTexts } from './texts.mjs'

const WORDS = 4
// Weights of SIF, a / (a + frequency): a frequent word says little about a text.
const SMOOTHING = 1e-3
const EULER = 0.5772

/** The rows of the known words of all texts, one after the other, and where in there each run begins. */
function findRuns(directory) {
  const words = JSON.parse(readFileSync(path.join(directory, 'glove100.words.json'), 'utf8'))
  const rowOf = new Map(words.map((word, row) => [word, row]))
  const known = []
  const starts = []
  for (const text of [...readTexts(directory, 'wordnet'), ...readTexts(directory, 'wordnet-ex')]) {
    const first = known.length
    for (const word of text.toLowerCase().match(/[a-z0-9]+/g) ?? [])
      if (rowOf.has(word)) known.push(rowOf.get(word))
    for (let start = first; start + WORDS <= known.length; start++) starts.push(start)
  }
  return { known, starts }
}

/** Weight of each word. Rows are ordered by frequency, and frequencies taken to follow Zipf's law. */
function weigh(rows) {
  const harmonic = Math.log(rows) + EULER
  return Float64Array.from({ length: rows }, (_, row) => SMOOTHING / (SMOOTHING + 1 / ((row + 1) * harmonic)))
}

/** Writes windows100.f32bin. */
export function makeWindows100({ out }) {
  const glove = readRows(out, 'glove100')
  const { dimensions } = glove
  const weights = weigh(glove.rows)
  const { known, starts } = findRuns(out)
  const means = new Float32Array(starts.length * dimensions)
  starts.forEach((start, run) => {
    const mean = means.subarray(run * dimensions, (run + 1) * dimensions)
    for (let at = start; at < start + WORDS; at++) {
      const weight = weights[known[at]]
      const from = known[at] * dimensions
      for (let k = 0; k < dimensions; k++) mean[k] += weight * glove.values[from + k]
    }
  })
  makeUnit(means, dimensions)
  const kept = distinctRows(means, dimensions)
  writeRows(out, 'windows100', pickRows(means, dimensions, kept), dimensions, {
    source: `weighted means of glove100 over every ${WORDS} neighboring words of the WordNet texts`,
    metric: 'cosine',
  })
}
