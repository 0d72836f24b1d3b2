/**
 * The package without its native library: what a user reads when an installation left it out.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import test from 'ava'

import { place } from './support.js'

const root = fileURLToPath(new URL('..', import.meta.url))

test('a missing library is one typed error that names the package and the remedies', async (t) => {
  const folder = join(dirname(place(t)), 'core')
  mkdirSync(folder)
  for (const name of ['dist', 'index.js', 'package.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  const script = `
    try { require(process.argv[1]) } catch (error) {
      console.log(JSON.stringify({ code: error.code, name: error.name, message: error.message, cause: !!error.cause }))
    }`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, folder])
  const error = JSON.parse(stdout) as { code: string; name: string; message: string; cause: boolean }
  t.like(error, { code: 'ERR_CHASSIS_BINDING_NOT_FOUND', name: 'ChassisError', cause: true })
  t.true(error.message.includes(`@chassis/core-${process.platform}-${process.arch}`), error.message)
  t.regex(error.message, /--omit=optional[\s\S]*npm before 11\.3[\s\S]*--libc=musl/)
})
