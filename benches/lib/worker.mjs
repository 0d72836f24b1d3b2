/**
 * Runs one engine in a process of its own: builds an index, opens one, or answers query passes on request.
 *
 * Only the search call itself is inside the clock: queries are in the form the engine takes before it starts,
 * and ids are read after it stops.
 */
import { adapterOf } from './engines.mjs'
import { bytesUnder, cpuSeconds, memory, resetPeak } from './process.mjs'
import { readBase, readQueries, readTruth } from './sets.mjs'

const adapter = await adapterOf(process.argv[2])
const milliseconds = (since) => performance.now() - since

/** From vectors in memory to a complete index in files. */
async function build({ set, job }) {
  const library = await adapter.load()
  const vectors = readBase(set)
  globalThis.gc?.()
  const before = memory()
  resetPeak()
  const cpu = cpuSeconds()
  const started = performance.now()
  await adapter.build(library, job, vectors)
  return {
    cpuSeconds: cpuSeconds() - cpu,
    wallSeconds: milliseconds(started) / 1000,
    peakBytesOverInput: memory().peak - before.rss,
    fileBytes: bytesUnder(job.directory),
  }
}

/** Open and first result in a fresh process; loading the module is reported apart. */
async function open({ set, job, k }) {
  const [query] = readQueries(set)
  const input = adapter.prepare(query)
  const before = memory()
  let started = performance.now()
  const library = await adapter.load()
  const loadMs = milliseconds(started)
  started = performance.now()
  const index = await adapter.open(library, job)
  const openMs = milliseconds(started)
  started = performance.now()
  const found = adapter.ids(adapter.search(index, input, k))
  const firstResultMs = milliseconds(started)
  if (found.length !== k) throw new Error(`the first search gave ${found.length} results, not ${k}`)
  const after = memory()
  const rss = {
    anonymous: after.anonymous - before.anonymous,
    fileBacked: after.fileBacked - before.fileBacked,
  }
  return { loadMs, openMs, firstResultMs, rss }
}

let session

/** Opens the index for the passes that follow. */
async function start({ set, job, k, cache }) {
  const library = await adapter.load()
  const inputs = readQueries(set).map((query) => adapter.prepare(query))
  const truth = readTruth(set, k, cache).map((list) => new Set(list))
  session = { library, job, k, inputs, truth, index: await adapter.open(library, job), ef: undefined }
}

async function useEf(ef) {
  if (session.ef === ef) return
  session.index = await adapter.setEf(session.index, ef, session.job, session.library)
  session.ef = ef
}

/** One pass that counts which of the true neighbors were found. */
async function recall({ ef }) {
  await useEf(ef)
  const { inputs, truth, index, k } = session
  let hits = 0
  inputs.forEach((input, i) => {
    for (const id of adapter.ids(adapter.search(index, input, k))) if (truth[i].has(id)) hits++
  })
  return hits / (inputs.length * k)
}

/** Timed passes over all queries until `seconds` have gone by, after a short untimed run to refill the caches. */
async function pass({ ef, seconds }) {
  await useEf(ef)
  const { inputs, index, k } = session
  const { search } = adapter
  for (const input of inputs.slice(0, 100)) search(index, input, k)
  const cpu = cpuSeconds()
  const started = performance.now()
  let queries = 0
  do {
    for (let i = 0; i < inputs.length; i++) search(index, inputs[i], k)
    queries += inputs.length
  } while (milliseconds(started) < seconds * 1000)
  const wall = milliseconds(started) / 1000
  return { qps: queries / (cpuSeconds() - cpu), wallQps: queries / wall }
}

/** One pass with a clock around each call. */
async function latency({ ef }) {
  await useEf(ef)
  const { inputs, index, k } = session
  const times = inputs.map((input) => {
    const started = performance.now()
    adapter.search(index, input, k)
    return milliseconds(started) * 1000
  })
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))]
  return { p50Us: at(0.5), p99Us: at(0.99) }
}

const operations = { build, open, start, recall, pass, latency }

process.on('message', async ({ operation, argument }) => {
  try {
    process.send({ value: await operations[operation](argument) })
  } catch (error) {
    process.send({ error: error?.stack ?? String(error) })
  }
})
process.on('disconnect', () => process.exit())
