#!/usr/bin/env node
/**
 * Compares Chassis with the embedded vector engines of npm: same data, same machine, one run, each through its
 * own JavaScript API.
 *
 *   node benches/peers.mjs --data DIR --set NAME [--engines chassis,hnswlib-node,usearch,@zvec/zvec] [--json OUT]
 *
 * Every index is built in a process of its own and kept under --work, so that a second run measures searches
 * at once. Opening is timed in fresh processes. For the searches one process per engine stays open, pinned to
 * one core, and the engines take turns at each ef in each round, so that a change of the machine's speed meets
 * all of them. A figure is the median of the rounds.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './lib/curve.mjs'
import { adapterOf, engineNames } from './lib/engines.mjs'
import { canPin, startWorker } from './lib/process.mjs'
import { describeCommit, describeMachine, render, summarize } from './lib/report.mjs'
import { describeSet } from './lib/sets.mjs'
import { draw } from './lib/svg.mjs'

const USAGE = `node benches/peers.mjs --data DIR --set NAME [options]

  --engines LIST       default: ${engineNames.join(',')}
  --json OUT           write the result as JSON
  --svg OUT            draw recall against speed
  --rounds N           search rounds, default 3
  --efs LIST           default: 10,14,20,... up to 1280; an engine stops after recall 0.998
  --seconds S          length of one timed pass at least, default 0.3
  --rows N             take only the first N rows of the base
  --m N                default 16
  --ef-construction N  default 200
  --threads N          threads of a build, where the engine lets one choose, default 1
  --core N             core that searches are pinned to, default the last
  --work DIR           where built indexes are kept, default in the system's temporary folder
  --rebuild LIST       engines to build anew ("all" for each)
  --reuse-any-build    take the newest Chassis index in --work, whichever binary built it
  --build-only         build, do not search
`

const STOP_RECALL = 0.998
const OPEN_TRIALS = 5
const DEFAULT_EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900, 1280]

function readOptions() {
  const string = { type: 'string' }
  const flag = { type: 'boolean' }
  const { values } = parseArgs({
    options: {
      data: string,
      set: string,
      engines: string,
      json: string,
      svg: string,
      rounds: string,
      efs: string,
      seconds: string,
      rows: string,
      m: string,
      'ef-construction': string,
      threads: string,
      core: string,
      work: string,
      rebuild: string,
      'reuse-any-build': flag,
      'build-only': flag,
      help: flag,
    },
  })
  if (values.help || !values.data || !values.set) {
    console.error(USAGE)
    process.exit(values.help ? 0 : 2)
  }
  const number = (name, fallback) => {
    const value = values[name] === undefined ? fallback : Number(values[name])
    if (value !== undefined && !(value > 0 || (name === 'core' && value === 0)))
      throw new Error(`--${name} needs a positive number`)
    return value
  }
  const list = (name, fallback) => values[name]?.split(',').filter(Boolean) ?? fallback
  return {
    data: values.data,
    set: values.set,
    json: values.json,
    svg: values.svg,
    engines: list('engines', engineNames),
    rebuild: list('rebuild', []),
    efs: list('efs', DEFAULT_EFS)
      .map(Number)
      .sort((a, b) => a - b),
    rounds: number('rounds', 3),
    seconds: number('seconds', 0.3),
    rows: number('rows'),
    m: number('m', 16),
    efConstruction: number('ef-construction', 200),
    threads: number('threads', 1),
    core: number('core', os.cpus().length - 1),
    k: 10,
    work: path.resolve(values.work ?? path.join(os.tmpdir(), 'chassis-bench')),
    reuseAnyBuild: values['reuse-any-build'] ?? false,
    buildOnly: values['build-only'] ?? false,
  }
}

/** The command as typed, with folders reduced to their names. */
function describeCommand() {
  const short = process.argv.slice(2).map((word) => (path.isAbsolute(word) ? path.basename(word) : word))
  return ['node', 'benches/peers.mjs', ...short].join(' ')
}

function installPeers() {
  const folder = fileURLToPath(new URL('.', import.meta.url))
  if (fs.existsSync(path.join(folder, 'node_modules', 'hnswlib-node'))) return
  console.error('installing the peers into benches/node_modules ...')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  // Not `npm ci`: the lock cannot name the bindings of zvec for every platform.
  const { status } = spawnSync(npm, ['install', '--no-save', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) throw new Error('npm install failed in benches/')
}

/** Where an engine's index for these parameters lives. */
function indexDirectory(engine, version, set, options) {
  const kind = `${set.name}-${set.sha256?.slice(0, 8) ?? 'nohash'}-${set.rows}-m${options.m}-efc${options.efConstruction}`
  const name = engine.replaceAll(/[^a-z0-9-]/gi, '_')
  const exact = path.join(options.work, kind, `${name}-${version}-t${options.threads}`)
  if (!options.reuseAnyBuild || engine !== 'chassis' || !fs.existsSync(path.dirname(exact))) return exact
  const built = fs
    .readdirSync(path.dirname(exact))
    .filter((entry) => entry.startsWith(`${name}-`) && entry.endsWith('.json'))
    .map((entry) => path.join(path.dirname(exact), entry))
    .sort((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs)
  return built.length ? built[0].slice(0, -'.json'.length) : exact
}

/** Builds the index unless it is there; the note beside its folder is written last, so a half build is redone. */
async function buildIndex(engine, version, set, options) {
  const directory = indexDirectory(engine, version, set, options)
  const { dimensions, rows, metric } = set
  const { m, efConstruction, threads } = options
  const job = { directory, dimensions, rows, metric, m, efConstruction, threads }
  const note = `${directory}.json`
  const again = options.rebuild.includes(engine) || options.rebuild.includes('all')
  if (fs.existsSync(note) && !again) return { job, build: JSON.parse(fs.readFileSync(note, 'utf8')) }
  fs.rmSync(note, { force: true })
  fs.rmSync(directory, { recursive: true, force: true })
  fs.mkdirSync(directory, { recursive: true })
  console.error(`building ${engine} ${version} ...`)
  const worker = startWorker(engine)
  try {
    const build = { ...(await worker.ask('build', { set, job })), threads, loadAverage: os.loadavg()[0] }
    fs.writeFileSync(note, JSON.stringify(build) + '\n')
    console.error(`built ${engine}: ${build.cpuSeconds.toFixed(1)} CPU s, ${build.wallSeconds.toFixed(1)} s`)
    return { job, build }
  } finally {
    worker.stop()
  }
}

/** Open and first result, each time in a fresh process; the first time only warms the page cache. */
async function measureOpen(entry, set, { core, k }) {
  const trials = []
  for (let trial = 0; trial <= OPEN_TRIALS; trial++) {
    const worker = startWorker(entry.engine, { core })
    const figures = await worker.ask('open', { set, job: entry.job, k }).finally(() => worker.stop())
    if (trial > 0) trials.push(figures)
  }
  const middle = (pick) => median(trials.map(pick))
  return {
    loadMs: middle((t) => t.loadMs),
    openMs: middle((t) => t.openMs),
    firstResultMs: middle((t) => t.firstResultMs),
    rss: { anonymous: middle((t) => t.rss.anonymous), fileBacked: middle((t) => t.rss.fileBacked) },
  }
}

/** Alternating rounds over all engines; gives each entry its curve. */
async function measureSearches(entries, set, options) {
  const { core, k, efs, rounds, seconds } = options
  const workers = entries.map(({ engine }) => startWorker(engine, { core }))
  try {
    for (const [i, entry] of entries.entries()) {
      await workers[i].ask('start', { set, job: entry.job, k, cache: path.join(options.work, 'truth') })
      entry.curve = []
      entry.done = false
    }
    for (let round = 0; round < rounds; round++) {
      console.error(`search round ${round + 1} of ${rounds}`)
      for (const ef of efs) {
        for (const [i, entry] of entries.entries()) await measurePoint(workers[i], entry, ef, round, seconds)
      }
    }
  } finally {
    workers.forEach((worker) => worker.stop())
  }
  for (const entry of entries) {
    entry.curve = entry.curve.map(({ ef, recall, passes, ...latency }) => ({
      ef,
      recall,
      qps: median(passes.map((pass) => pass.qps)),
      wallQps: median(passes.map((pass) => pass.wallQps)),
      ...latency,
    }))
  }
}

async function measurePoint(worker, entry, ef, round, seconds) {
  let point = entry.curve.find((candidate) => candidate.ef === ef)
  if (round === 0) {
    if (entry.done) return
    point = { ef, recall: await worker.ask('recall', { ef }), passes: [] }
    entry.curve.push(point)
    entry.done = point.recall >= STOP_RECALL
  }
  if (!point) return
  point.passes.push(await worker.ask('pass', { ef, seconds }))
  if (round === 0) Object.assign(point, await worker.ask('latency', { ef }))
}

async function main() {
  const options = readOptions()
  const set = describeSet(path.resolve(options.data), options.set, options.rows)
  if (options.engines.some((engine) => engine !== 'chassis')) installPeers()
  const machine = describeMachine()
  const entries = []
  for (const engine of options.engines) {
    const version = (await adapterOf(engine)).version()
    entries.push({ engine, version, curve: [], ...(await buildIndex(engine, version, set, options)) })
  }
  if (!options.buildOnly) {
    for (const entry of entries) entry.open = await measureOpen(entry, set, options)
    await measureSearches(entries, set, options)
  }
  const { k, m, efConstruction, threads, rounds, seconds } = options
  const engines = entries.map(({ engine, version, build, open, curve }) => ({
    engine,
    version,
    build,
    open,
    curve,
  }))
  const ratios = summarize(engines)
  const { directory: _, ...about } = set
  const pinned = canPin() ? options.core : null
  const how = {
    command: describeCommand(),
    commit: describeCommit(),
    machine,
    pinnedToCore: pinned,
    rounds,
    seconds,
    threads,
  }
  const result = {
    schema: 'chassis-bench-peers/1',
    ...how,
    set: about,
    k,
    m,
    efConstruction,
    engines,
    ratios,
  }
  if (options.json) fs.writeFileSync(options.json, JSON.stringify(result, null, 1) + '\n')
  if (options.svg && !options.buildOnly) fs.writeFileSync(options.svg, draw(result))
  process.stdout.write(render(result))
}

await main()
