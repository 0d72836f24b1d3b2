/**
 * Every test, on a fresh checkout with Node and Rust: installs, builds, runs. Stops at the first failure.
 *
 *   node scripts/test.mjs [PART...]     parts: rust ts types bench pack; all of them by default
 */
import { spawnSync } from 'node:child_process'
import { build, install, npm, run, tool } from './setup.mjs'

/** Tests of the crash simulation that take long. */
const SIMULATION = ['every_crash_recovers', 'every_failing_call_is_survived', 'every_seeded_bug_is_caught']

/** A simulated disk comes and goes with each image; given back to the kernel each time, its pages take half of the time. */
const KEEP_MEMORY = {
  GLIBC_TUNABLES:
    'glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864',
}

const parts = {
  /** Formatting, lints, unit and integration tests, and the crash simulation with its whole budget. */
  rust: [
    ['format', () => run('cargo', ['fmt', '--all', '--check'])],
    ['clippy', () => cargo('clippy', ['--workspace', '--all-targets'], ['-D', 'warnings'])],
    // The simulation runs by itself, to show what it counted.
    [
      'tests',
      () =>
        cargo(
          'test',
          ['--workspace'],
          SIMULATION.flatMap((name) => ['--skip', name]),
        ),
    ],
    [
      'simulation',
      () => cargo('test', ['-p', 'chassis-core', '--test', 'sim'], ['--nocapture'], KEEP_MEMORY),
    ],
  ],
  /** Behavior as a Node program sees it. */
  ts: [
    ['build', build],
    ['ava', () => tool('ava', [])],
  ],
  /** Types of the facade and the tests, and the look of everything that prettier knows. */
  types: [
    ['build', build],
    ['tsc', () => tool('tsc', ['-p', 'tsconfig.json'])],
    ['prettier', () => tool('prettier', ['--check', '.'])],
  ],
  /** The arithmetic behind the tables of the benchmarks; needs Python and nothing that is installed with it. */
  bench: [['python', python]],
  /** The tarballs, as strangers install them. */
  pack: [
    ['pack', () => npm(['run', '--silent', 'pack:local'])],
    ['consumers', () => run(process.execPath, ['scripts/consumers.mjs'])],
  ],
}

function cargo(command, args, after = [], env = {}) {
  run('cargo', [command, '--locked', ...args, ...(after.length > 0 ? ['--', ...after] : [])], {
    env: { ...process.env, ...env },
  })
}

/** What could not run on this machine, and why: said when it happens, and again at the end. */
const skipped = []

function python() {
  if (spawnSync('python3', ['--version']).status !== 0)
    return { skipped: 'python3 is not installed or not in PATH' }
  // Without `-B` it would leave `__pycache__` in the tree.
  run('python3', ['-B', '-m', 'unittest', 'discover', 'benches/python/tests'])
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((part) => !(part in parts))
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; known are: ${Object.keys(parts).join(' ')}`)
  process.exit(2)
}
try {
  install()
  for (const part of wanted.length > 0 ? wanted : Object.keys(parts)) {
    for (const [name, step] of parts[part]) {
      const start = performance.now()
      console.log(`\n=== ${part}: ${name}`)
      const outcome = step()
      if (outcome?.skipped) {
        skipped.push(`SKIPPED: ${part}: ${name}: ${outcome.skipped}`)
        console.error(`\n${skipped.at(-1)}`)
        continue
      }
      console.log(`=== ${part}: ${name} passed in ${((performance.now() - start) / 1000).toFixed(1)} s`)
    }
  }
} catch (error) {
  console.error(`\nFAILED: ${error.message}`)
  process.exitCode = 1
}
for (const line of skipped) console.error(line)
