/**
 * The demo from start to end: sets up what is missing, embeds real texts, builds one file, and searches it from
 * another process. Each step is a process of its own, so that nothing but the file passes from one to the next.
 *
 *   npm run demo                            a few questions, then a prompt
 *   npm run demo -- "a sweet dessert"       your questions
 */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { build, install } from '../../scripts/setup.mjs'
import { bold, dim, say, step } from './ui.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))

/** Runs a step and ends with its status if it failed. */
function run(script, ...args) {
  const { status, signal, error } = spawnSync(process.execPath, [path.join(here, script), ...args], {
    stdio: 'inherit',
  })
  if (error !== undefined) throw error
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

// Ctrl-C reaches the running step too; that one decides how to end, and its status is passed on.
process.on('SIGINT', () => {})

say()
say(` ${bold('Chassis demo')}  ${dim('real text, real embeddings, one file, offline')}`)
say()
install()
build()
install('examples/demo')
step(1, 'Set-up', 'packages installed, library built')
run('embed.mjs')
run('build.mjs')
run('search.mjs', ...process.argv.slice(2))
