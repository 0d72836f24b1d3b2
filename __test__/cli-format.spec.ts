/**
 * Text of numbers, tables and bars, and the exit code of each error.
 */
import { linkSync, readFileSync } from 'node:fs'

import test from 'ava'

import { ChassisError, type ChassisErrorCode } from '../ts/errors.js'
import { toCliError } from '../ts/cli/errors.js'
import {
  bytes,
  duration,
  fixed,
  grouped,
  nearest,
  pairs,
  plural,
  shortFloat,
  table,
} from '../ts/cli/format.js'
import { barLine } from '../ts/cli/progress.js'

test('floats in their shortest form read back as the same float', (t) => {
  t.is(shortFloat(Math.fround(0.3)), 0.3)
  t.is(shortFloat(Math.fround(1e-7)), 1e-7)
  t.is(shortFloat(16777216), 16777216)
  t.is(shortFloat(0.3), 0.3, 'a double that is no float stays as it is')
  const word = new Uint32Array(1)
  const float = new Float32Array(word.buffer)
  for (let i = 0; i < 20_000; i++) {
    word[0] = Math.imul(i + 1, 2654435761)
    const value = float[0]!
    if (Number.isFinite(value)) t.is(Math.fround(shortFloat(value)), value)
  }
})

test('numbers, sizes and durations', (t) => {
  t.deepEqual([0, 999, 1000, 1234567, 12345678901234567890n].map(grouped), [
    '0',
    '999',
    '1,000',
    '1,234,567',
    '12,345,678,901,234,567,890',
  ])
  t.deepEqual([0, 1023, 1024, 15.25 * 2 ** 20, 900 * 2 ** 30].map(bytes), [
    '0 bytes',
    '1023 bytes',
    '1.00 KiB',
    '15.3 MiB',
    '900 GiB',
  ])
  t.deepEqual([12, 12_345, 245_000, 7_380_000].map(duration), ['12 ms', '12.3 s', '4 min 05 s', '2 h 03 min'])
  t.deepEqual([fixed(-1e-9), fixed(0.1), fixed(-2)], ['0.000000', '0.100000', '-2.000000'])
  t.deepEqual([plural(1, 'row'), plural(2000, 'row')], ['1 row', '2,000 rows'])
})

test('tables align numbers right and words left', (t) => {
  t.deepEqual(table(['id', 'd'], [['a', '1.5'], ['bcd', '10.25']]), ['id       d', 'a      1.5', 'bcd  10.25']) // prettier-ignore
  t.deepEqual(pairs([['a', '1'], ['long', '']]), ['a     1', 'long']) // prettier-ignore
})

test('slips of the finger find their word, other words none', (t) => {
  const words = ['build', 'query', 'stats', 'verify']
  t.deepEqual(
    ['biuld', 'buidl', 'qeury', 'stat', 'verfy', 'sync'].map((word) => nearest(word, words)),
    ['build', 'build', 'query', 'stats', 'verify', undefined],
  )
})

test('a bar is never wider than the terminal', (t) => {
  const look = { label: 'building', unit: 'vectors', color: false }
  t.regex(
    barLine(look, 500, 0.5, 1000, 100),
    /^building █{15}░{15} {3}50 % {2}500 vectors {2}500\/s {2}1 s left$/,
  )
  for (let columns = 10; columns < 200; columns += 7) {
    for (const fraction of [undefined, 0, 0.3, 1]) {
      const line = barLine(look, 123_456_789, fraction, 90_000, columns)
      t.true(line.length < columns, `${columns}: ${line}`)
    }
  }
})

test('every error code ends with the exit code that docs/errors.md states', (t) => {
  const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')
  const stated = [...page.matchAll(/^\| `(ERR_CHASSIS_\w+)` \|.*\| (\d+) \|$/gm)]
  t.true(stated.length > 30, `${stated.length} rows`)
  for (const [, code, exit] of stated) {
    t.is(Number(exit), toCliError(new ChassisError(code as ChassisErrorCode, 'x')).exit, code)
  }
  t.is(toCliError(new TypeError('x is not a function')).exit, 70)
})

test('what the operating system said is shown with its paths', (t) => {
  const said = (call: () => void) => toCliError(t.throws(call)).message
  t.is(
    said(() => readFileSync('/none')),
    'no such file or directory: /none',
  )
  t.is(
    said(() => linkSync("/none/o'a", '/none/b')),
    "no such file or directory: /none/o'a -> /none/b",
  )
})
