/**
 * Code in a realm of its own, where `Error` and `Array` are not those of the binding: what Jest runs tests in.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createContext, runInContext } from 'node:vm'

import test from 'ava'

import type * as Package from '../dist/index.mjs'
import { place } from './support.js'

const DIST = fileURLToPath(new URL('../dist', import.meta.url))

/** Loads the package into a new realm; the binding, or what loading it throws, and Node's modules stay in this one. */
function loadApart(broken?: Error): typeof Package {
  const context = createContext({ AbortSignal, TextDecoder, TextEncoder, URL, performance, process })
  const loaded = new Map<string, { exports: object }>()
  const load = (file: string): object => {
    const known = loaded.get(file)
    if (known !== undefined) return known.exports
    const module = { exports: {} }
    loaded.set(file, module)
    const outside = createRequire(file)
    const require = (name: string): unknown => {
      const path = join(dirname(file), name)
      if (broken !== undefined && name === '../index.js') throw broken
      return name.startsWith('.') && path.startsWith(DIST) ? load(path) : outside(name)
    }
    const source = `(function (exports, require, module) {${readFileSync(file, 'utf8')}\n})`
    const run = runInContext(source, context, { filename: file }) as (...of: unknown[]) => void
    run(module.exports, require, module)
    return module.exports
  }
  return load(join(DIST, 'index.js')) as typeof Package
}

test('errors keep their type, code and cause in another realm', async (t) => {
  const { ChassisError, VectorIndex } = loadApart()
  const path = place(t)
  const missing = await t.throwsAsync(VectorIndex.open(path, { create: 'never' }), { any: true })
  t.true(missing instanceof ChassisError, String(missing))
  t.is((missing as Package.ChassisError).code, 'ERR_CHASSIS_NOT_FOUND')
  t.regex(String((missing as Package.ChassisError).cause), /os error/)
  const index = await VectorIndex.open(path, { dimensions: 2, metric: 'l2' })
  const invalid = t.throws(() => index.addSync([Number.NaN, 1]), { any: true })
  t.true(invalid instanceof ChassisError, String(invalid))
  t.is((invalid as Package.ChassisError).code, 'ERR_CHASSIS_INVALID_VECTOR')
  t.is(await index.add({ vector: [1, 2], payload: { a: 1 } }), 0)
  t.is((await index.search([1, 2], { signal: new AbortController().signal })).length, 1)
  await index.close()
})

test('what was tried to load the binding is told in another realm', (t) => {
  const broken = new Error('first attempt', { cause: new Error('second attempt') })
  const error = t.throws(() => loadApart(broken), { any: true }) as Package.ChassisError
  t.is(error.code, 'ERR_CHASSIS_BINDING_NOT_FOUND')
  t.regex(error.message, /- first attempt\n.*- second attempt$/)
})
