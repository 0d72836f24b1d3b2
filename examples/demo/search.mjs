/**
 * Step 4: another process opens the file and answers questions typed in words.
 *
 *   node search.mjs                      a few questions, the figures, and a prompt on a terminal
 *   node search.mjs "a sweet dessert"    these questions only
 */
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'

// In a project of yours: import { VectorIndex } from '@chassis/core'
import { VectorIndex } from '../../dist/index.mjs'
import { readCache } from './embed.mjs'
import { DIMENSIONS, loadModel } from './model.mjs'
import { bold, cut, cyan, detail, dim, green, number, say, step, time, width } from './ui.mjs'

const QUESTIONS = [
  'frozen water falling from the sky',
  'something sweet to eat after dinner',
  'a sudden loud noise',
  'an animal with wings and feathers',
  'someone who writes music',
]
const K = 10
/** Results printed of the ten found. */
const SHOWN = 5
/** One search takes less time than the system may take away from it, so each is timed this often. */
const RUNS = 9

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), 'wordnet.chassis')

/** How many of the `K` truly nearest records a search found, as a fraction. */
function recall(found, exact) {
  const truth = new Set(exact.ids)
  return truth.size === 0 ? 1 : found.ids.filter((id) => truth.has(id)).length / truth.size
}

/** A search through the graph, its median time over a few runs, and its recall against a scan of every record. */
function measure(index, vector, include = []) {
  const times = Array.from({ length: RUNS }, () => {
    const started = performance.now()
    index.searchSync(vector, { k: K, include })
    return performance.now() - started
  })
  const found = index.searchSync(vector, { k: K, include })
  return { found, ms: median(times), recall: recall(found, index.searchSync(vector, { k: K, exact: true })) }
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1]
}

async function answer(index, model, question) {
  const started = performance.now()
  const [vector] = await model.embed([question])
  const embedding = performance.now() - started
  const { found, ms, recall } = measure(index, vector, ['payload'])
  for (const { similarity, payload } of found.toArray().slice(0, SHOWN)) {
    const word = cut(payload.words[0], 20).padEnd(20)
    say(`      ${green(similarity.toFixed(3))}  ${word} ${dim(cut(payload.text, width() - 36))}`)
  }
  say(
    dim(
      `      search ${time(ms)}, recall@${K} ${recall.toFixed(2)}, embedding the question ${time(embedding)}`,
    ),
  )
}

/** Recall and latency over sentences that are not in the index. */
function figures(index) {
  const { questions, questionVectors } = readCache()
  const runs = questions.map((_, i) => {
    const vector = questionVectors.subarray(i * DIMENSIONS, (i + 1) * DIMENSIONS)
    return measure(index, vector)
  })
  const mean = runs.reduce((sum, run) => sum + run.recall, 0) / runs.length
  say()
  detail(
    `over ${number(runs.length)} other sentences: mean recall@${K} ${mean.toFixed(3)}, median search ${time(median(runs.map((run) => run.ms)))}`,
  )
}

async function prompt(index, model) {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  lines.on('SIGINT', () => lines.close())
  // A prompt that is closed leaves its question without an answer, so closing must end the wait too.
  const closed = new Promise((resolve) => lines.once('close', () => resolve('')))
  const ask = () => Promise.race([lines.question(`    ${cyan('?')} `).catch(() => ''), closed])
  say()
  say(dim('    Type what you are looking for, in words. An empty line ends.'))
  say()
  for (let words = (await ask()).trim(); words !== ''; words = (await ask()).trim()) {
    await answer(index, model, words)
    say()
  }
  lines.close()
}

const started = performance.now()
const index = await VectorIndex.open(file, { readOnly: true })
const opened = performance.now() - started
step(
  4,
  'Search',
  `process ${process.pid} opened ${path.basename(file)} in ${time(opened)}: ${number(index.size)} vectors`,
)
const model = await loadModel()
// The first call of the model compiles its kernels, which is no part of answering a question.
await model.embed(['warm up'])

const stated = process.argv.slice(2)
for (const question of stated.length > 0 ? stated : QUESTIONS) {
  say()
  say(`    ${cyan('?')} ${bold(question)}`)
  await answer(index, model, question)
}
if (stated.length === 0) {
  figures(index)
  if (process.stdin.isTTY && process.stdout.isTTY) await prompt(index, model)
  else detail('ask your own: npm run demo -- "something you wear when it rains"')
}
await index.close()
say()
