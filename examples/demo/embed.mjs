/**
 * Step 2: texts to vectors. The result is kept in `.cache`, so that only the first run takes time.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { DIMENSIONS, loadModel, MODEL } from './model.mjs'
import { pickTexts } from './texts.mjs'
import { detail, number, progress, step, time } from './ui.mjs'

/** 120 definitions from each of 20 subjects: about half a minute of embedding on one core. */
const TEXTS = 2400
/** Sentences kept out of the index, for measuring recall. */
const QUESTIONS = 100
/** Texts embedded in one call of the model. More gains nothing and takes memory. */
const BATCH = 32

const here = path.dirname(fileURLToPath(import.meta.url))
const cache = path.join(here, '.cache')
const file = (name) => path.join(cache, name)

/** Whatever changes the vectors changes this: the versions of the packages and the code that picks and embeds. */
function cacheKey() {
  const hash = createHash('sha256')
  for (const name of ['package-lock.json', 'texts.mjs', 'model.mjs'])
    hash.update(readFileSync(path.join(here, name)))
  return hash.update(`${TEXTS} ${QUESTIONS}`).digest('hex')
}

/**
 * What was embedded: `records` (id, subject, words, text) with one row of `vectors` each, and `questions` with one row
 * of `questionVectors` each. Nothing if there is none yet.
 */
export function readCache() {
  try {
    const { key, records, questions } = JSON.parse(readFileSync(file('texts.json'), 'utf8'))
    if (key !== cacheKey()) return undefined
    return {
      records,
      questions,
      vectors: readFloats('vectors.f32'),
      questionVectors: readFloats('questions.f32'),
    }
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

function readFloats(name) {
  const bytes = readFileSync(file(name))
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

/** Complete under its name or not there at all. */
function write(name, data) {
  writeFileSync(`${file(name)}.part`, data)
  renameSync(`${file(name)}.part`, file(name))
}

/** One row per text. Texts of like length are embedded together, because a batch costs what its longest text does. */
async function embedAll(model, texts, done) {
  const rows = new Float32Array(texts.length * DIMENSIONS)
  const order = texts.map((_, i) => i).sort((a, b) => texts[a].length - texts[b].length || a - b)
  for (let start = 0; start < order.length; start += BATCH) {
    const batch = order.slice(start, start + BATCH)
    const vectors = await model.embed(batch.map((i) => texts[i]))
    batch.forEach((i, n) => rows.set(vectors[n], i * DIMENSIONS))
    done(batch.length)
  }
  return rows
}

async function main() {
  const known = readCache()
  if (known !== undefined) {
    step(2, 'Embed', `${number(known.records.length)} texts, embedded by an earlier run`)
    return
  }
  const { records, questions } = pickTexts({ count: TEXTS, questionCount: QUESTIONS })
  step(2, 'Embed', `${number(records.length)} WordNet definitions, ${DIMENSIONS} dimensions, on this machine`)
  const started = performance.now()
  const model = await loadModel()
  const bar = progress(records.length + questions.length, 'texts')
  let embedded = 0
  const done = (count) => bar((embedded += count))
  const texts = records.map((record) => record.text)
  const vectors = await embedAll(model, texts, done)
  const questionVectors = await embedAll(model, questions, done)
  mkdirSync(cache, { recursive: true })
  write('vectors.f32', vectors)
  write('questions.f32', questionVectors)
  write('texts.json', JSON.stringify({ key: cacheKey(), records, questions }))
  detail(`${MODEL}, offline, in ${time(performance.now() - started)}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
