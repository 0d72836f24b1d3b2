/**
 * Chassis for the Python harness, through its JavaScript API: requests and answers a line of JSON each.
 *
 *   node chassis_worker.mjs '{"open":{},"exact":false}'
 *
 * Answers the requests that `harness/worker.py` answers for the peers. Only the search calls are inside the clock,
 * and the clock is the CPU time of the process: all its threads, garbage collection and compiler included.
 */
import readline from 'node:readline'
import chassis from '../adapters/chassis.mjs'
import { bytesUnder, cpuSeconds, memory } from '../lib/process.mjs'
import { readBase, readQueries } from '../lib/sets.mjs'

const EFS = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 192, 224, 272, 320]
EFS.push(384, 448, 544, 640, 768, 896, 1088, 1280)
const RECALLS = [0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995]
const WARM_UP = 100
const K = 10

const options = JSON.parse(process.argv[2] ?? '{}')
const seconds = (since) => (performance.now() - since) / 1000
const jobOf = (set, folder) => ({ ...set, directory: folder, options: options.open })

async function build({ set, folder, threads }) {
  const library = await chassis.load()
  const vectors = readBase(set)
  const cpu = cpuSeconds()
  const started = performance.now()
  await chassis.build(library, { ...jobOf(set, folder), threads }, vectors)
  return {
    cpuSeconds: cpuSeconds() - cpu,
    wallSeconds: seconds(started),
    fileBytes: bytesUnder(folder),
    extraBytes: 0,
  }
}

let session

async function open({ set, folder }) {
  const library = await chassis.load()
  const queries = readQueries(set)
  const before = memory().rss
  const started = performance.now()
  const { index } = await chassis.open(library, jobOf(set, folder))
  const openSeconds = seconds(started)
  const packed = new Float32Array(queries.length * set.dimensions)
  queries.forEach((query, i) => packed.set(query, i * set.dimensions))
  session = { index, queries, packed, before, dimensions: set.dimensions }
  return { families: families(), modes: ['one', 'batch'], exact: Boolean(options.exact), openSeconds }
}

/** Effort by the size of the candidate list, and by the recall asked for where this build knows that option. */
function families() {
  if (options.exact) return [[{ exact: true }]]
  const known = [EFS.map((efSearch) => ({ efSearch }))]
  try {
    session.index.searchSync(session.queries[0], { k: K, recall: RECALLS[0] })
    known.push(RECALLS.map((recall) => ({ recall })))
  } catch (error) {
    if (error?.code === undefined) throw error
  }
  return known
}

/** Searches for the first `count` queries; the results as the caller of the API gets them. */
function run(mode, setting, count) {
  const { index, queries, packed, dimensions } = session
  const how = { k: K, ...setting }
  if (mode === 'one') {
    const found = new Array(count)
    for (let i = 0; i < count; i++) found[i] = index.searchSync(queries[i], how)
    return found
  }
  return index.searchBatchSync(packed.subarray(0, count * dimensions), { ...how, threads: 1 })
}

function answers({ setting, mode }) {
  run(mode, setting, Math.min(WARM_UP, session.queries.length))
  const cpu = cpuSeconds()
  const found = run(mode, setting, session.queries.length)
  const spent = cpuSeconds() - cpu
  return { cpuSeconds: spent, ids: found.map(({ ids }) => Array.from(ids, Number)) }
}

function pass({ setting, mode, seconds: least, queries }) {
  run(mode, setting, Math.min(WARM_UP, queries))
  const cpu = cpuSeconds()
  const started = performance.now()
  let count = 0
  do {
    run(mode, setting, queries)
    count += queries
  } while (cpuSeconds() - cpu < least)
  return { queries: count, cpuSeconds: cpuSeconds() - cpu, wallSeconds: seconds(started) }
}

function latency({ setting, queries }) {
  run('one', setting, Math.min(WARM_UP, queries))
  const how = { k: K, ...setting }
  const times = session.queries.slice(0, queries).map((query) => {
    const started = performance.now()
    session.index.searchSync(query, how)
    return (performance.now() - started) * 1000
  })
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))]
  return { p50Us: at(0.5), p99Us: at(0.99) }
}

const operations = {
  version: () => chassis.version(),
  build,
  open,
  answers,
  pass,
  latency,
  memory: () => memory().rss - session.before,
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { op, ...request } = JSON.parse(line)
  let answer
  try {
    answer = { value: await operations[op](request) }
  } catch (error) {
    answer = { error: String(error?.stack ?? error).slice(0, 600) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
