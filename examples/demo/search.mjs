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

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), 'wordnet.chassis')

/** How many of the `K` truly nearest records a search found, as a fraction. */
function recall(found, exact) {
  const truth = new Set(exact.ids)
  return truth.size === 0 ? 1 : found.ids.filter((id) => truth.has(id)).length / truth.size
}

/** One search through the graph, timed, and its recall against a scan of every record. */
function measure(index, vector, include = []) {
  const started = performance.now()
  const found = index.searchSync(vector, { k: K, include })
  const ms = performance.now() - started
  return { found, ms, recall: recall(found, index.searchSync(vector, { k: K, exact: true })) }
}

async function answer(index, model, question) {
  const started = performance.now()
  const [vector] = await model.embed([question])
  const embedding = performance.now() - started
  const { found, ms, recall } = measure(index, vector, ['payload'])
  say()
  say(`    ${cyan('?')} ${bold(question)}`)
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
  const median = runs.map((run) => run.ms).sort((a, b) => a - b)[runs.length >> 1]
  say()
  detail(
    `over ${number(runs.length)} other sentences: mean recall@${K} ${mean.toFixed(3)}, median search ${time(median)}`,
  )
}

async function prompt(index, model) {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  let open = true
  lines.on('close', () => (open = false))
  lines.on('SIGINT', () => lines.close())
  say()
  say(dim('    Type what you are looking for, in words. An empty line ends.'))
  const ask = () => lines.question(`\n    ${cyan('?')} `).catch(() => '')
  // A closed prompt leaves its question without an answer, so the closing itself must end the wait.
  const closed = new Promise((resolve) => lines.once('close', () => resolve('')))
  for (
    let words = await Promise.race([ask(), closed]);
    open && words.trim() !== '';
    words = await Promise.race([ask(), closed])
  ) {
    await answer(index, model, words.trim())
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
for (const question of stated.length > 0 ? stated : QUESTIONS) await answer(index, model, question)
if (stated.length === 0) {
  figures(index)
  if (process.stdin.isTTY && process.stdout.isTTY) await prompt(index, model)
  else detail('ask your own: npm run demo -- "something you wear when it rains"')
}
await index.close()
say()
