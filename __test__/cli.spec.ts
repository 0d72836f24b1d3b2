/**
 * The command line: what each command prints, every exit code, and that data, progress and errors stay apart.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import test, { type ExecutionContext } from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import { chassis, json, jsonlRows, start } from './cli-support.js'
import { place } from './support.js'

/** A folder with `docs.jsonl`, and a way to name files in it. */
function setUp(t: ExecutionContext, rows = 60, dimensions = 8): (name: string) => string {
  const folder = path.dirname(place(t))
  const at = (name: string) => path.join(folder, name)
  writeFileSync(at('docs.jsonl'), jsonlRows(rows, dimensions))
  return at
}

async function built(t: ExecutionContext, rows = 60): Promise<(name: string) => string> {
  const at = setUp(t, rows)
  const { exit, stderr } = await chassis([
    'build',
    at('docs.jsonl'),
    '-o',
    at('docs.chassis'),
    '--model',
    'm1',
  ])
  t.is(exit, 0, stderr)
  return at
}

const hash = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')

// ---- the program

test('help, version, and usage errors with a remedy', async (t) => {
  const help = await chassis(['--help'])
  t.is(help.exit, 0)
  for (const name of ['build', 'query', 'stats', 'verify'])
    t.regex(help.stdout, new RegExp(`^  ${name} `, 'm'))
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  t.is((await chassis(['--version'])).stdout, `chassis ${version}\n`)
  const none = await chassis([])
  t.deepEqual([none.exit, none.stdout], [2, ''])
  for (const [args, message, hint] of [
    [['biuld'], /unknown command "biuld"/, /did you mean build\?/],
    [['build', 'x.jsonl'], /no index to write/, /-o/],
    [['build'], /INPUT is missing/, /usage: chassis build/],
    [['build', 'a', 'b', '-o', 'c'], /unexpected argument "b"/, /usage/],
    [['build', 'a', '-o', 'c', '--metirc', 'l2'], /unknown option --metirc/, /did you mean --metric\?/],
    [['build', 'a.jsonl', '-o', 'c', '--metric', 'manhattan'], /one of: cosine, l2, ip/, /--help/],
    [['build', 'a.jsonl', '-o', 'c', '--dim', '1.5'], /--dim is "1.5"; it must be a whole number/, /--help/],
    [['build', 'a.jsonl', '-o', 'c', '--m', '-3'], /the value of --m starts with a dash/, /--m=VALUE/],
    [['build', 'a.jsonl', '-o'], /-o.* needs a value/, /VALUE|INDEX/],
    [['build', 'a.jsonl', '-o', 'c', '--force', '--append'], /cannot be used together/, /leave one/],
    [['build', 'a.txt', '-o', 'c'], /cannot tell the format/, /--format/],
    [
      ['build', '-', '--ids', '-', '--format', 'npy', '-o', 'c'],
      /cannot both be standard input/,
      /in a file/,
    ],
    [['-q', 'stats', 'x'], /no command before -q/, /options follow the command/],
    [['stats', 'x', '--threads', '0'], /--threads is "0"/, /--help/],
    [['query', 'x', '--vector', '[1]', '--id', '1'], /cannot be used together/, /leave one/],
  ] as const) {
    const { exit, stdout, stderr } = await chassis(args)
    t.deepEqual([exit, stdout], [2, ''], args.join(' '))
    t.regex(stderr, message)
    t.regex(stderr, hint)
  }
})

test('errors are JSON with --json, on stdout, and stderr stays empty', async (t) => {
  const at = setUp(t)
  const missing = await json(['stats', at('none.chassis')])
  t.is(missing.exit, 4)
  const { schema, command, code, exit, message, hint } = missing.data
  t.deepEqual([schema, command, code, exit], ['chassis.error/1', 'stats', 'ERR_CHASSIS_NOT_FOUND', 4])
  t.is(typeof message, 'string')
  t.is(typeof hint, 'string')
  t.is((await json(['build', at('docs.jsonl')])).data['code'], 'ERR_CHASSIS_USAGE')
})

// ---- build

test('build, stats, query and verify agree', async (t) => {
  const at = setUp(t)
  const made = await json(['build', at('docs.jsonl'), '-o', at('docs.chassis'), '--model', 'm1', '--m', '8'])
  t.is(made.exit, 0)
  const expected = { count: 60, dimensions: 8, metric: 'cosine', idType: 'integer', model: 'm1', m: 8 }
  t.like(made.data, { schema: 'chassis.build/1', added: 60, skipped: 0, ...expected })
  t.deepEqual(readdirSync(path.dirname(at('x'))).sort(), ['docs.chassis', 'docs.jsonl'], 'no litter')
  t.like((await json(['stats', at('docs.chassis')])).data, {
    schema: 'chassis.stats/1',
    ...expected,
    readOnly: true,
  })
  const shown = await chassis(['stats', at('docs.chassis')])
  for (const name of ['codes', 'drift', 'recall']) t.regex(shown.stdout, new RegExp(`^${name} +-$`, 'm'))
  t.like((await json(['verify', at('docs.chassis'), '--deep'])).data, { ok: true, status: 'ok', nodes: 60 })

  const { data } = await json([
    'query',
    at('docs.chassis'),
    '--id',
    '7',
    '-k',
    '3',
    '--with-payload',
    '--with-vector',
  ])
  const results = data['results'] as { id: number; similarity: number; payload: unknown; vector: number[] }[]
  t.is(results.length, 3)
  t.is(results[0]?.id, 7)
  t.true(Math.abs(results[0]!.similarity - 1) < 1e-6)
  t.deepEqual(results[0]?.payload, { title: 'record 7' })
  const stored = JSON.parse(readFileSync(at('docs.jsonl'), 'utf8').split('\n')[7]!) as { vector: number[] }
  t.deepEqual(results[0]?.vector, stored.vector, 'the shortest decimal of each float is what was written')
})

test('the same input gives the same bytes and the same text, with any number of threads', async (t) => {
  const at = setUp(t, 300)
  const build = (name: string, ...more: string[]) =>
    chassis(['build', at('docs.jsonl'), '-o', at(name), ...more])
  const first = await build('a.chassis', '--threads', '1')
  const second = await build('b.chassis', '--threads', '3')
  t.is(hash(at('a.chassis')), hash(at('b.chassis')))
  t.is(first.stdout.replace('a.chassis', 'b.chassis'), second.stdout)
  t.is(first.stderr + second.stderr, '', 'silent in a pipe')
})

test('build refuses to replace, replaces with --force, adds with --append', async (t) => {
  const at = await built(t)
  const again = ['build', at('docs.jsonl'), '-o', at('docs.chassis')]
  const before = hash(at('docs.chassis'))
  const refused = await json(again)
  t.is(refused.exit, 2)
  t.is(refused.data['code'], 'ERR_CHASSIS_ALREADY_EXISTS')
  t.is(hash(at('docs.chassis')), before)

  writeFileSync(at('more.jsonl'), jsonlRows(5, 8, 100))
  const added = await json(['build', at('more.jsonl'), '-o', at('docs.chassis'), '--append'])
  t.like(added.data, { added: 5, count: 65 })

  const twice = await json(['build', at('more.jsonl'), '-o', at('docs.chassis'), '--append'])
  t.is(twice.exit, 3)
  t.like(twice.data, { code: 'ERR_CHASSIS_DUPLICATE_ID', line: 1 })
  t.like((await json(['stats', at('docs.chassis')])).data, { count: 65 })

  t.is((await chassis([...again, '--force', '--model', 'm1'])).exit, 0)
  t.is(hash(at('docs.chassis')), before, 'the same as the first build')
})

test('--append to an index of another shape is incompatible', async (t) => {
  const at = await built(t)
  writeFileSync(at('wide.jsonl'), jsonlRows(2, 9, 100))
  const into = ['-o', at('docs.chassis'), '--append']
  const code = async (...args: string[]) => {
    const { exit, data } = await json(['build', ...args, ...into])
    return [exit, data['code']]
  }
  t.deepEqual(await code(at('wide.jsonl')), [6, 'ERR_CHASSIS_DIMENSION_MISMATCH'])
  t.deepEqual(await code(at('docs.jsonl'), '--metric', 'l2'), [6, 'ERR_CHASSIS_OPTION_MISMATCH'])
  t.deepEqual(await code(at('docs.jsonl'), '--model', 'm2'), [6, 'ERR_CHASSIS_OPTION_MISMATCH'])
  t.is((await json(['query', at('docs.chassis'), '--id', '1', '--model', 'm2'])).exit, 6)
  t.is((await json(['build', at('docs.jsonl'), '-o', at('none.chassis'), '--append'])).exit, 4)
  writeFileSync(at('named.jsonl'), '{"id":"a","vector":[1,2,3,4,5,6,7,8]}')
  const named = await json(['build', at('named.jsonl'), ...into])
  t.like(named.data, { exit: 3, line: 1 })
  t.regex(named.data['message'] as string, /line 1: id "a" does not fit an index with integer ids/)
})

test('bad rows name their line and leave nothing behind; skipped ones are reported', async (t) => {
  const at = setUp(t, 3)
  const lines =
    readFileSync(at('docs.jsonl'), 'utf8') + '{"id":90,"vector":[0,0,0,0,0,0,0,0]}\n' + jsonlRows(1, 8, 91)
  writeFileSync(at('bad.jsonl'), lines)
  const refused = await json(['build', at('bad.jsonl'), '-o', at('bad.chassis')])
  t.is(refused.exit, 3)
  t.like(refused.data, { code: 'ERR_CHASSIS_BAD_INPUT', line: 4 })
  t.deepEqual(readdirSync(path.dirname(at('x'))).sort(), ['bad.jsonl', 'docs.jsonl'])

  const skipping = ['build', at('bad.jsonl'), '-o', at('bad.chassis'), '--on-bad-vector', 'skip']
  const { data } = await json(skipping)
  t.like(data, { added: 4, skipped: 1, count: 4 })
  t.like(data['skippedRows'], [{ where: 'line 4' }])
  t.regex((await chassis([...skipping, '--force'])).stderr, /warning: 1 row left out/)

  writeFileSync(at('twice.jsonl'), jsonlRows(2, 8) + '\n' + jsonlRows(1, 8, 1))
  const twice = await json(['build', at('twice.jsonl'), '-o', at('twice.chassis')])
  t.is(twice.exit, 3)
  t.like(twice.data, { code: 'ERR_CHASSIS_DUPLICATE_ID', line: 4 })
})

test('string ids, assigned ids, other metrics, empty input', async (t) => {
  const at = setUp(t)
  const rows = ['{"id":"é/1","vector":[1,2]}', '{"id":"b","vector":[3,1]}'].join('\n')
  const named = await json(['build', '-', '-o', at('s.chassis'), '--metric', 'l2'], { input: rows })
  t.like(named.data, { idType: 'string', metric: 'l2', count: 2 })
  const found = await json(['query', at('s.chassis'), '--id', 'é/1', '-k', '2'])
  t.deepEqual(found.data['results'], [
    { id: 'é/1', distance: 0, similarity: 1 },
    { id: 'b', distance: 2.236068, similarity: 0.309017 },
  ])
  t.is((await json(['query', at('s.chassis'), '--id', 'none'])).exit, 4)

  t.like((await json(['build', '-', '-o', at('n.chassis')], { input: '[1,2]\n[3,4]\n' })).data, { count: 2 })
  const { data } = await json(['query', at('n.chassis'), '--vector', '[1,2]'])
  t.deepEqual((data['results'] as { id: number }[]).map(({ id }) => id).sort(), [0, 1])

  t.is((await json(['build', '-', '-o', at('e.chassis')], { input: '' })).exit, 3)
  t.like((await json(['build', '-', '-o', at('e.chassis'), '--dim', '4'], { input: '' })).data, {
    count: 0,
    dimensions: 4,
  })
  t.like((await json(['query', at('e.chassis'), '--vector', '[1,2,3,4]'])).data, { results: [] })
})

test('binary formats give the index that jsonl gives', async (t) => {
  const at = setUp(t)
  const values = Float32Array.from({ length: 40 * 6 }, (_, i) => Math.fround(Math.sin(i * i + 1)))
  const rows = Array.from({ length: 40 }, (_, i) => [...values.subarray(i * 6, (i + 1) * 6)])
  writeFileSync(at('v.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'))
  writeFileSync(at('v.f32'), new Uint8Array(values.buffer))
  const head = Buffer.alloc(4)
  head.writeInt32LE(6)
  writeFileSync(
    at('v.fvecs'),
    Buffer.concat(rows.flatMap((row) => [head, Buffer.from(new Float32Array(row).buffer)])),
  )
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (40, 6), }`.padEnd(117) + '\n'
  const npy = Buffer.concat([Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'), Buffer.from(header)])
  writeFileSync(at('v.npy'), Buffer.concat([npy, Buffer.from(values.buffer)]))
  const hashes = []
  for (const name of ['v.jsonl', 'v.f32', 'v.fvecs', 'v.npy']) {
    const { exit, stderr } = await chassis(['build', at(name), '-o', at(`${name}.chassis`), '--dim', '6'])
    t.is(exit, 0, stderr)
    hashes.push(hash(at(`${name}.chassis`)))
  }
  t.is(new Set(hashes).size, 1)
  t.is((await json(['build', at('v.npy'), '-o', at('x.chassis'), '--dim', '7'])).exit, 6)
  const queries = await chassis([
    'query',
    at('v.npy.chassis'),
    '--queries',
    at('v.f32'),
    '-k',
    '1',
    '--output',
    'tsv',
  ])
  t.is(queries.stdout.trim().split('\n').length, 41)
})

test('build puts nothing in place of a file that is not an index, and needs a folder', async (t) => {
  const at = setUp(t)
  writeFileSync(at('notes.txt'), 'my notes, not an index')
  const refused = await json(['build', at('docs.jsonl'), '-o', at('notes.txt'), '--force'])
  t.is(refused.exit, 6)
  t.is(readFileSync(at('notes.txt'), 'utf8'), 'my notes, not an index')
  t.is((await json(['build', at('docs.jsonl'), '-o', at('no/folder.chassis')])).exit, 4)
  t.is((await json(['build', at('none.jsonl'), '-o', at('x.chassis')])).exit, 4)
  mkdirSync(at('folder.chassis'))
  t.is((await json(['stats', at('folder.chassis')])).exit, 8)
})

test('a damaged index is replaced by --force', async (t) => {
  const at = await built(t)
  const whole = hash(at('docs.chassis'))
  truncateSync(at('docs.chassis'), 5000)
  const { exit, stderr } = await chassis([
    'build',
    at('docs.jsonl'),
    '-o',
    at('docs.chassis'),
    '--force',
    '--model',
    'm1',
  ])
  t.is(exit, 0, stderr)
  t.is(hash(at('docs.chassis')), whole)
})

test('another writer: exit 7, the holder named; reading goes on', async (t) => {
  const at = await built(t)
  const writer = await VectorIndex.open(at('docs.chassis'))
  for (const how of ['--append', '--force']) {
    const { exit, data } = await json(['build', at('docs.jsonl'), '-o', at('docs.chassis'), how])
    t.is(exit, 7, how)
    t.regex(data['message'] as string, new RegExp(`\\b${process.pid}\\b`))
  }
  t.is((await json(['stats', at('docs.chassis')])).exit, 0)
  await writer.close()
})

// Not even root can make a file in this folder.
const linux = process.platform === 'linux' ? test : test.skip
linux('a folder that cannot be written to: exit 8', async (t) => {
  const at = setUp(t)
  const { exit, data } = await json(['build', at('docs.jsonl'), '-o', '/sys/chassis-test.chassis'])
  t.is(exit, 8)
  t.is(data['code'], 'ERR_CHASSIS_PERMISSION_DENIED')
})

// ---- query

test('query: text, tsv, jsonl and json of one and of many', async (t) => {
  const at = await built(t)
  writeFileSync(at('q.jsonl'), jsonlRows(3, 8))
  const one = ['query', at('docs.chassis'), '--id', '3', '-k', '2']
  const many = ['query', at('docs.chassis'), '--queries', at('q.jsonl'), '-k', '2']
  const lines = async (args: readonly string[], output: string) => {
    const { stdout, stderr, exit } = await chassis([...args, '--output', output])
    t.deepEqual([stderr, exit], ['', 0])
    return stdout.trimEnd().split('\n')
  }
  const text = await lines(one, 'text')
  t.is(text.length, 3)
  t.regex(text[0]!, /^rank +id +distance +similarity$/)
  t.regex(text[1]!, /^ +1 +3 +0\.000000 +1\.000000$/)
  t.deepEqual((await lines(many, 'tsv'))[0], 'query\trank\tid\tdistance\tsimilarity')
  t.is((await lines(many, 'tsv')).length, 7)
  t.like(JSON.parse((await lines(one, 'jsonl'))[0]!), { rank: 1, id: 3 })
  const objects = (await lines(many, 'json')).map((line) => JSON.parse(line) as Record<string, unknown>)
  t.deepEqual(
    objects.map(({ query }) => query),
    [0, 1, 2],
  )
  t.like(objects[2], { schema: 'chassis.query/1', k: 2 })
  t.is((objects[2]?.['results'] as { id: number }[])[0]?.id, 2)
})

test('query: the vector from standard input, from a file, and what is wrong with it', async (t) => {
  const at = await built(t)
  const vector = (JSON.parse(jsonlRows(1, 8, 4)) as { vector: number[] }).vector
  const find = (args: string[], input?: string) =>
    json(['query', at('docs.chassis'), '-k', '1', ...args], input === undefined ? {} : { input })
  t.like((await find([], JSON.stringify(vector))).data, { results: [{ id: 4 }] })
  t.like((await find([], JSON.stringify({ vector }))).data, { results: [{ id: 4 }] })
  writeFileSync(at('q.json'), JSON.stringify(vector))
  t.like((await find(['--file', at('q.json'), '--exact'])).data, { results: [{ id: 4 }] })
  t.like((await find(['--vector', JSON.stringify(vector), '--radius', '0.000001', '-k', '50'])).data, {
    results: [{ id: 4 }],
  })
  const large = JSON.stringify({ vector, payload: 'x'.repeat(17 << 20) })
  t.like(
    (await find(['--queries', '-'], large)).data,
    { results: [{ id: 4 }] },
    'payloads of queries are not kept',
  )
  t.is((await find([], '')).exit, 3)
  t.is((await find([], 'hello')).exit, 3)
  t.is((await find(['--vector', '[1, "x"]'])).exit, 3)
  t.is((await find(['--vector', '[0,0,0,0,0,0,0,0]'])).exit, 3)
  t.is((await find(['--vector', '[1,2]'])).exit, 6)
  t.is((await find(['--id', '999'])).exit, 4)
  t.is((await find(['--id', 'x'])).exit, 2)
  writeFileSync(at('bad.jsonl'), jsonlRows(2, 8) + '{"vector":[1,null,0,0,0,0,0,0],"id":5}\n')
  t.like((await find(['--queries', at('bad.jsonl')])).data, { line: 3, exit: 3 })
})

test('a reader that goes away ends the output quietly', async (t) => {
  const at = await built(t, 2000)
  const { child, ended } = start([
    'query',
    at('docs.chassis'),
    '--queries',
    at('docs.jsonl'),
    '-k',
    '200',
    '--output',
    'tsv',
  ])
  child.stdout?.once('data', () => child.stdout?.destroy())
  const { exit, stderr } = await ended
  t.deepEqual([exit, stderr], [0, ''])
})

// ---- verify

test('verify tells apart: ok, corrupt, truncated, newer format, not an index', async (t) => {
  const at = await built(t)
  const bytes = readFileSync(at('docs.chassis'))
  const verdict = async (name: string, content: Uint8Array) => {
    writeFileSync(at(name), content)
    const { exit, data } = await json(['verify', at(name)])
    t.is(hash(at(name)), createHash('sha256').update(content).digest('hex'), 'the file is as it was')
    return [exit, data['status']]
  }
  const changed = (change: (copy: Buffer) => void) => {
    const copy = Buffer.from(bytes)
    change(copy)
    return copy
  }
  t.deepEqual(await verdict('ok.chassis', bytes), [0, 'ok'])
  t.deepEqual(
    await verdict(
      'newer.chassis',
      changed((copy) => copy.writeUInt16LE(99, 16)),
    ),
    [6, 'newer-format'],
  )
  t.deepEqual(
    await verdict(
      'header.chassis',
      changed((copy) => copy.writeUInt32LE(7, 40)),
    ),
    [5, 'corrupt'],
  )
  t.deepEqual(await verdict('short.chassis', bytes.subarray(0, 3000)), [5, 'truncated'])
  t.deepEqual(await verdict('text.chassis', Buffer.from('hello')), [6, 'not-an-index'])
  t.deepEqual(await verdict('empty.chassis', Buffer.alloc(0)), [6, 'not-an-index'])
  t.deepEqual(await verdict('zeros.chassis', Buffer.alloc(1 << 16)), [6, 'not-an-index'])
  t.is((await json(['verify', at('none.chassis')])).exit, 4)
  const text = await chassis(['verify', at('short.chassis')])
  t.regex(text.stdout, /cut short/)
  t.is(text.exit, 5)
})

test('verify and query survive damage anywhere', async (t) => {
  // Enough rows that most of the file is in use: damage to blocks that hold nothing is none.
  const at = await built(t, 2000)
  const bytes = readFileSync(at('docs.chassis'))
  const { length } = bytes
  const damaged = [
    ...[0.1, 0.4, 0.6, 0.9].map((part) => bytes.subarray(0, Math.floor(length * part))),
    ...Array.from({ length: 10 }, (_, i) => {
      const copy = Buffer.from(bytes)
      copy.fill(0xa5, Math.floor((length * i) / 10), Math.floor((length * i) / 10) + 700)
      return copy
    }),
  ]
  let found = 0
  for (const [i, content] of damaged.entries()) {
    writeFileSync(at(`d${i}`), content)
    const { exit } = await chassis(['verify', at(`d${i}`), '--deep', '--json'])
    t.true(exit === 0 || exit === 5 || exit === 6, `verify of ${i} ended with ${exit}`)
    if (exit !== 0) found++
    const query = await chassis(['query', at(`d${i}`), '--vector', '[1,2,3,4,5,6,7,8]'])
    t.true(
      [0, 5, 6].includes(query.exit as number),
      `query of ${i} ended with ${query.exit}: ${query.stderr}`,
    )
  }
  t.true(found >= 8, `${found} of ${damaged.length} damaged files were found`)
})

test('reading commands leave the file and its folder untouched', async (t) => {
  const at = await built(t)
  const before = [
    hash(at('docs.chassis')),
    statSync(at('docs.chassis')).mtimeMs,
    readdirSync(path.dirname(at('x'))),
  ]
  for (const args of [['stats'], ['verify', '--deep'], ['query', '--id', '1']]) {
    t.is((await chassis([args[0]!, at('docs.chassis'), ...args.slice(1)])).exit, 0)
  }
  t.deepEqual(
    [hash(at('docs.chassis')), statSync(at('docs.chassis')).mtimeMs, readdirSync(path.dirname(at('x')))],
    before,
  )
})
