/**
 * Readers of vectors: every format, streamed, with the place of the first bad row named.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'

import test from 'ava'

import { CliError } from '../ts/cli/errors.js'
import { openReader, READER_DEFAULTS, type ReaderOptions } from '../ts/cli/readers/index.js'
import { halfToFloat } from '../ts/cli/readers/npy-header.js'
import { BadRows, batchRows, type RowBatch, withoutBadVectors } from '../ts/cli/readers/reader.js'
import { openSource } from '../ts/cli/readers/source.js'

let folder: string
test.before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'chassis-readers-'))
})
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, content: string | Uint8Array): string {
  const where = path.join(folder, name)
  writeFileSync(where, content)
  return where
}

interface Read {
  rows: number[][]
  ids: unknown[]
  payloads: unknown[]
  origins: number[]
  batches: RowBatch[]
  bad: BadRows
  dimensions: number | undefined
  idType: string | undefined
}

async function read(where: string, options: Partial<ReaderOptions> & { skip?: boolean } = {}): Promise<Read> {
  const bad = new BadRows(options.skip === true ? 'skip' : 'error', path.basename(where), 'fix it')
  const reader = await openReader(where, { ...READER_DEFAULTS, ...options, bad })
  const out: Read = {
    rows: [],
    ids: [],
    payloads: [],
    origins: [],
    batches: [],
    bad,
    dimensions: undefined,
    idType: undefined,
  }
  for await (const raw of reader.batches()) {
    const batch = withoutBadVectors(raw, reader.unit, 'cosine', bad)
    for (let row = 0; row < batch.rows; row++) {
      out.rows.push([...batch.vectors.subarray(row * batch.dimensions, (row + 1) * batch.dimensions)])
    }
    out.ids.push(...(batch.ids ?? []))
    out.payloads.push(...(batch.payloads ?? []))
    out.origins.push(...batch.origins)
    out.batches.push(batch)
  }
  return Object.assign(out, { dimensions: reader.dimensions, idType: reader.idType })
}

async function failure(
  t: { is: (a: unknown, b: unknown) => void },
  work: Promise<unknown>,
): Promise<CliError> {
  try {
    await work
  } catch (error) {
    if (error instanceof CliError) return error
    throw error
  }
  t.is('it succeeded', 'it failed')
  throw new Error('unreachable')
}

// ---- jsonl

test('jsonl: ids, vectors and payloads; BOM, CRLF, blank lines and a last line without an end', async (t) => {
  const where = file(
    'a.jsonl',
    '\ufeff{"id":7,"vector":[1,2.5],"payload":{"t":"ä"}}\r\n\r\n  \n{"id":0,"vector":[-3,4e-3]}\r\n{"id":9,"vector":[0,1],"payload":null}',
  )
  const { rows, ids, payloads, origins, idType, dimensions } = await read(where)
  t.deepEqual(rows, [
    [1, 2.5],
    [-3, Math.fround(4e-3)],
    [0, 1],
  ])
  t.deepEqual(ids, [7, 0, 9])
  t.deepEqual(payloads, [{ t: 'ä' }, undefined, undefined])
  t.deepEqual(origins, [1, 4, 5])
  t.is(idType, 'integer')
  t.is(dimensions, 2)
})

test('jsonl: bare arrays are vectors without ids', async (t) => {
  const { rows, ids, idType } = await read(file('b.jsonl', '[1,0]\n[0,1]\n'))
  t.deepEqual(rows, [
    [1, 0],
    [0, 1],
  ])
  t.deepEqual(ids, [])
  t.is(idType, undefined)
})

test('jsonl: several payload fields, all others, other field names', async (t) => {
  const where = file('c.jsonl', '{"key":"x","e":[1,1],"title":"T","url":"U","n":1}\n')
  const names = { idField: 'key', vectorField: 'e' }
  t.deepEqual((await read(where, { ...names, payloadFields: ['title', 'n'] })).payloads, [
    { title: 'T', n: 1 },
  ])
  t.deepEqual((await read(where, { ...names, payloadFields: ['*'] })).payloads, [
    { title: 'T', url: 'U', n: 1 },
  ])
  t.deepEqual((await read(where, { ...names, payloadField: 'url' })).payloads, ['U'])
  t.deepEqual((await read(where, names)).ids, ['x'])
})

test('jsonl: a stated field that is not there is an error that names it and the line', async (t) => {
  const lines = '{"key":1,"vector":[1,2],"url":"U"}\n\n{"id":2,"vector":[1,3],"title":"T"}\n'
  const where = file('fields.jsonl', lines)
  const arrays = file('arrays.jsonl', '[1,2]\n[1,3]\n')
  const cases: [string, Partial<ReaderOptions> & { skip?: boolean }, number, RegExp][] = [
    [where, { idField: 'key' }, 3, /has no field "key"/],
    [where, { idField: 'kye' }, 1, /has no field "kye"/],
    [where, { idField: 'constructor' }, 1, /has no field "constructor"/],
    [where, {}, 3, /has an id, but the lines before it have none/],
    [where, { vectorField: 'emb', skip: true }, 1, /has no field "emb"/],
    [
      file('v.jsonl', '{"v":[1]}\n{}\n'),
      { vectorField: 'e', skip: true },
      1,
      /"e", and no line after it has one/,
    ],
    [arrays, { payloadField: 'text' }, 1, /has no field "text", and no line after it/],
    [arrays, { payloadFields: ['url'] }, 1, /has no field "url", and no line after it/],
    [arrays, { idField: 'key' }, 1, /has no field "key"/],
  ]
  for (const [input, options, line, expected] of cases) {
    const error = await failure(t, read(input, options))
    t.regex(error.message, expected)
    t.like(error, { exit: 3, code: 'ERR_CHASSIS_BAD_INPUT', details: { line } }, error.message)
  }
  const { hint } = await failure(t, read(where, { idField: 'kye' }))
  t.is(hint, '--id-field names it; the line has "key", "vector", "url"')
  const some = file('some.jsonl', '{"vector":[1,2]}\n{"vector":[1,3],"title":"T"}\n')
  t.deepEqual((await read(some, { payloadField: 'title' })).payloads, [undefined, 'T'], 'one line is enough')
  t.deepEqual((await read(file('none.jsonl', '\n'), { idField: 'key', payloadField: 'x' })).ids, [])
})

test('field options for formats without fields are refused', async (t) => {
  const where = file('fields.npy', npy('<f4', [2, 2], bytesOf(new Float32Array([1, 2, 3, 4]))))
  for (const options of [{ idField: 'a' }, { vectorField: 'a' }, { payloadFields: ['a'] }]) {
    const error = await failure(t, read(where, options))
    t.like(error, { exit: 2, code: 'ERR_CHASSIS_USAGE' })
    t.regex(error.message, /--\w+-fields? is for jsonl, and npy has no fields/)
  }
  const ids = file('keys.jsonl', '{"key":7}\n{"key":8}\n')
  t.deepEqual((await read(where, { ids, idField: 'key' })).ids, [7, 8])
  const error = await failure(t, read(where, { ids }))
  t.regex(error.message, /line 1: has no field "id"/)
})

test('jsonl: integer ids as digits are exact up to 2^64 - 1', async (t) => {
  const where = file(
    'd.jsonl',
    '{"id":"18446744073709551614","vector":[1,1]}\n{"id":"5","vector":[1,2]}\n{"id":6,"vector":[1,3]}\n',
  )
  t.deepEqual((await read(where, { idType: 'integer' })).ids, [18446744073709551614n, 5, 6])
  t.deepEqual((await read(where)).ids, ['18446744073709551614', '5', '6'], 'the first id decides: strings')
})

const BAD_LINES: readonly (readonly [string, string, RegExp])[] = [
  ['broken JSON', '{"vector":[1,2]', /line 2: not valid JSON/],
  ['NaN is not JSON', '{"id":1,"vector":[1,NaN]}', /line 2: not valid JSON/],
  ['null in the vector', '{"id":1,"vector":[1,null]}', /line 2: value 1 of the vector is null, not a number/],
  ['too large for f32', '{"id":1,"vector":[1,1e39]}', /line 2: value 1 of the vector is 1e\+39, too large/],
  ['wrong length', '{"id":1,"vector":[1,2,3]}', /line 2: the vector has 3 values, expected 2/],
  ['no vector', '{"id":1}', /line 2: the field "vector" is missing/],
  ['zero vector', '{"id":1,"vector":[0,0]}', /line 2: the vector is all zeros/],
  ['not an object', '5', /line 2: is 5, not an object/],
  ['no id', '{"vector":[1,2]}', /line 2: the id is missing/],
  ['negative id', '{"id":-1,"vector":[1,2]}', /line 2: the id is -1, not a whole number/],
  ['fractional id', '{"id":1.5,"vector":[1,2]}', /line 2: the id is 1.5, not a whole number/],
  [
    'string among integers',
    '{"id":"x","vector":[1,2]}',
    /line 2: the id is "x", not a whole number.*--id-type string/,
  ],
  ['nested vector', '{"id":1,"vector":[[1],[2]]}', /line 2: value 0 of the vector is \[1\], not a number/],
  [
    'an id beyond the largest',
    '{"id":"18446744073709551615","vector":[1,2]}',
    /line 2: the id is "18.*2\^64 - 2/,
  ],
  ['a long wrong id', `{"id":"${'x'.repeat(999)}","vector":[1,2]}`, /line 2: the id is "x{58}…, not a whole/],
  ['inexact id', '{"id":9007199254740993,"vector":[1,2]}', /line 2: .*too large for a JSON number/],
]

for (const [what, line, expected] of BAD_LINES) {
  test(`jsonl: ${what} is an error that names the line`, async (t) => {
    const where = file(`bad ${what}.jsonl`, `{"id":0,"vector":[1,2]}\n${line}\n`)
    const error = await failure(t, read(where))
    t.regex(error.message, expected)
    t.is(error.exit, 3)
    t.is(error.details['line'], 2)
  })
}

const BAD_IDS: readonly (readonly [string, string, RegExp])[] = [
  ['too long', `"${'ü'.repeat(512)}x"`, /line 2: the id has 1,025 bytes; allowed are up to 1,024/],
  ['half of a pair', '"\\ud800"', /line 2: the id "\\ud800" holds half of a surrogate pair/],
  ['empty', '""', /line 2: the id is an empty string/],
]

for (const [what, id, expected] of BAD_IDS) {
  test(`string ids: ${what} is an error that names file and line, in a record and beside it`, async (t) => {
    const records = file(`id ${what}.jsonl`, `{"id":"a","vector":[1,2]}\n{"id":${id},"vector":[1,2]}\n`)
    const ids = file(`ids ${what}.jsonl`, `"a"\n${id}\n`)
    const rows = file(`rows ${what}.f32`, bytesOf(new Float32Array([1, 2, 3, 4])))
    const errors = [
      [records, await failure(t, read(records))],
      [ids, await failure(t, read(rows, { dimensions: 2, ids }))],
    ] as const
    for (const [where, error] of errors) {
      t.true(error.message.startsWith(where), error.message)
      t.regex(error.message, expected)
      t.is(error.exit, 3)
      t.deepEqual(error.details, { source: where, line: 2 })
    }
  })
}

test('jsonl: a payload over 16 MiB as it is stored is an error that names the line', async (t) => {
  const lines = (payload: string) => `[1,2]\n{"vector":[3,4],"payload":${payload}}\n`
  const text = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`
  const largest = await read(file('largest.jsonl', lines(text(16 << 20))))
  t.is((largest.payloads[1] as string).length, (16 << 20) - 2)
  // 1e20 is stored as 21 digits.
  for (const payload of [text((16 << 20) + 1), `[${'1e20,'.repeat(800_000)}0]`]) {
    const where = file('payload.jsonl', lines(payload))
    const error = await failure(t, read(where))
    t.regex(error.message, /line 2: the payload has 1[\d,]+ bytes; allowed are up to 16,777,216/)
    t.is(error.exit, 3)
    t.deepEqual(error.details, { source: where, line: 2 })
  }
})

test('jsonl: invalid UTF-8 and a line of another JSON layout are named', async (t) => {
  const bytes = Buffer.concat([
    Buffer.from('{"id":0,"vector":[1,2]}\n{"id":1,"vector":[1,2],"payload":"'),
    Buffer.from([0xff]),
  ])
  const utf = await failure(t, read(file('utf.jsonl', bytes)))
  t.regex(utf.message, /line 2: not valid UTF-8/)
  t.deepEqual(utf.details, { source: path.join(folder, 'utf.jsonl'), line: 2 })
  t.regex((await failure(t, read(file('json.jsonl', '[\n{"id":0}\n]\n')))).hint ?? '', /jq -c/)
  t.regex((await failure(t, read(file('arr.jsonl', '[{"id":0,"vector":[1]}]\n')))).hint ?? '', /jq -c/)
  const other = await failure(t, read(file('emb.jsonl', '{"id":0,"embedding":[1,2]}\n')))
  t.regex(other.hint ?? '', /--vector-field embedding/)
})

test('jsonl: skipping leaves out bad vectors only, counts them, and goes on', async (t) => {
  const lines = [
    '{"id":1,"vector":[1,2]}',
    '{"id":2,"vector":[1]}',
    '{"id":3,"vector":[0,0]}',
    '{"id":4,"vector":[3,4]}',
  ]
  const { ids, rows, origins, bad } = await read(file('skip.jsonl', lines.join('\n')), { skip: true })
  t.deepEqual(ids, [1, 4])
  t.deepEqual(rows, [
    [1, 2],
    [3, 4],
  ])
  t.deepEqual(origins, [1, 4])
  t.is(bad.count, 2)
  t.deepEqual(
    bad.named.map(({ where }) => where),
    ['line 2', 'line 3'],
  )
  const broken = file('skip2.jsonl', '{"id":1,"vector":[1,2]}\nnot json\n')
  t.is((await failure(t, read(broken, { skip: true }))).exit, 3, 'a broken line is not a bad vector')
})

test('jsonl: a line longer than any chunk, and batches of bounded size', async (t) => {
  const long = 'x'.repeat(3 << 20)
  const lines = [`{"id":0,"vector":[1,2],"payload":"${long}"}`]
  for (let i = 1; i < 10_000; i++) lines.push(`{"id":${i},"vector":[1,${i}]}`)
  const { ids, payloads, batches, rows } = await read(file('long.jsonl', lines.join('\n')))
  t.is((payloads[0] as string).length, long.length)
  t.is(ids.length, 10_000)
  t.deepEqual(rows[9_999], [1, 9_999])
  t.deepEqual(
    batches.map((batch) => batch.rows),
    [batchRows(2), 10_000 - batchRows(2)],
  )
})

// ---- npy

function npy(
  descr: string,
  shape: readonly number[],
  data: Uint8Array,
  { version = 1, fortran = false } = {},
): Buffer {
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  let header = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${tuple}, }`
  const prefix = version === 1 ? 10 : 12
  header += ' '.repeat(63 - ((prefix + header.length) % 64)) + '\n'
  const head = Buffer.alloc(prefix)
  head.write('\x93NUMPY', 'latin1')
  head[6] = version
  if (version === 1) head.writeUInt16LE(header.length, 8)
  else head.writeUInt32LE(header.length, 8)
  return Buffer.concat([head, Buffer.from(header), data])
}

const bytesOf = (array: Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array): Uint8Array =>
  new Uint8Array(array.buffer)

test('npy: 32-bit floats in each version of the header', async (t) => {
  for (const version of [1, 2, 3]) {
    const data = bytesOf(new Float32Array([1, 2, 3, 4, 5, 6]))
    const { rows, dimensions, origins } = await read(
      file(`v${version}.npy`, npy('<f4', [2, 3], data, { version })),
    )
    t.deepEqual(rows, [
      [1, 2, 3],
      [4, 5, 6],
    ])
    t.is(dimensions, 3)
    t.deepEqual(origins, [0, 1])
  }
})

test('npy: 64-bit floats are rounded to nearest, 16-bit floats are exact, one dimension is one row', async (t) => {
  const doubles = new Float64Array([0.1, 1 + 2 ** -24, 1 + 3 * 2 ** -24])
  const { rows } = await read(file('f8.npy', npy('<f8', [1, 3], bytesOf(doubles))))
  t.deepEqual(rows, [[Math.fround(0.1), 1, 1 + 2 ** -22]], 'ties go to even')
  const halves = new Uint16Array([0x3c00, 0xc000, 0x3555, 0x0001])
  const read16 = await read(file('f2.npy', npy('<f2', [4], bytesOf(halves))))
  t.deepEqual(read16.rows, [[1, -2, 0.333251953125, 2 ** -24]])
  t.is(halfToFloat(0x7c00), Number.POSITIVE_INFINITY)
  t.true(Number.isNaN(halfToFloat(0x7e00)))
  t.is(halfToFloat(0x7bff), 65504)
  const huge = npy('<f8', [1, 1], bytesOf(new Float64Array([1e39])))
  t.regex(
    (await failure(t, read(file('huge.npy', huge)))).message,
    /row 0: value 0 of the vector is Infinity/,
  )
})

test('npy: what cannot be read is refused with the remedy', async (t) => {
  const floats = bytesOf(new Float32Array([1, 2, 3, 4, 5, 6]))
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['big-endian', npy('>f4', [2, 3], floats), /big-endian/],
    ['integers', npy('<i8', [3], floats), /type <i8/],
    ['objects', npy('|O', [2, 3], floats), /Python objects/],
    ['fortran', npy('<f4', [2, 3], floats, { fortran: true }), /Fortran order/],
    ['three dimensions', npy('<f4', [1, 2, 3], floats), /shape \(1, 2, 3\)/],
    ['cut in a row', npy('<f4', [3, 3], floats), /ends in row 2 of 3/],
    ['longer', npy('<f4', [1, 3], floats), /goes on after its last row/],
    ['cut in the header', npy('<f4', [2, 3], floats).subarray(0, 20), /ends inside its header/],
    ['empty', new Uint8Array(0), /not a \.npy file/],
    ['text', Buffer.from('hello, this is text'), /not a \.npy file/],
    ['future version', npy('<f4', [2, 3], floats, { version: 9 }), /version 9/],
    ['garbage header', npy("<f4', '", [2, 3], floats).fill(0x20, 12, 60), /header that is not NumPy/],
  ]
  for (const [what, content, expected] of cases) {
    const error = await failure(t, read(file(`bad ${what}.npy`, content)))
    t.regex(error.message, expected, what)
    t.is(error.exit, 3, what)
    t.truthy(error.hint, what)
  }
})

test('npy: NaN names its row and is skipped on request', async (t) => {
  const where = file('nan.npy', npy('<f4', [3, 2], bytesOf(new Float32Array([1, 2, 3, Number.NaN, 5, 6]))))
  t.regex((await failure(t, read(where))).message, /row 1: value 1 of the vector is NaN/)
  const { rows, origins } = await read(where, { skip: true })
  t.deepEqual(rows, [
    [1, 2],
    [5, 6],
  ])
  t.deepEqual(origins, [0, 2])
})

// ---- ids beside the vectors

test('ids: from npy, text and jsonl', async (t) => {
  const where = file('ids-base.npy', npy('<f4', [3, 1], bytesOf(new Float32Array([1, 2, 3]))))
  const numbers = file('n.npy', npy('<i8', [3], bytesOf(new BigInt64Array([5n, 2n ** 60n, 7n]))))
  t.deepEqual((await read(where, { ids: numbers })).ids, [5, 2n ** 60n, 7])
  t.deepEqual((await read(where, { ids: file('n.txt', '10\r\n11\n12\n') })).ids, [10, 11, 12])
  const words = await read(where, { ids: file('s.txt', 'a\nb b\nc') })
  t.deepEqual([words.ids, words.idType], [['a', 'b b', 'c'], 'string'])
  t.deepEqual((await read(where, { ids: file('n2.txt', '10\n11\n12\n'), idType: 'string' })).ids, [
    '10',
    '11',
    '12',
  ])
  t.deepEqual((await read(where, { ids: file('o.jsonl', '{"id":"x"}\n"y"\n{"id":"z"}\n') })).ids, [
    'x',
    'y',
    'z',
  ])
})

test('ids: too few, too many, negative and mixed are refused', async (t) => {
  const where = file('ids-base2.npy', npy('<f4', [3, 1], bytesOf(new Float32Array([1, 2, 3]))))
  const refused = async (name: string, content: string | Uint8Array) =>
    (await failure(t, read(where, { ids: file(name, content) }))).message
  t.regex(await refused('few.txt', '1\n2\n'), /has 2 ids, but there are more vectors/)
  t.regex(await refused('many.txt', '1\n2\n3\n4\n'), /has more than the 3 ids needed/)
  t.regex(
    await refused('largest.npy', npy('<u8', [3], bytesOf(new BigInt64Array([1n, -1n, 3n])))),
    /row 1: the id is "18446744073709551615"/,
  )
  t.regex(
    await refused('neg.npy', npy('<i4', [3], bytesOf(new Int32Array([1, -2, 3])))),
    /row 1: the id is -2/,
  )
  t.regex(await refused('mixed.txt', '1\nx\n3\n'), /line 2: the id is "x"/)
})

// ---- fvecs, bvecs, bare floats

function vecs(rows: readonly (readonly number[])[], kind: 'f' | 'b'): Buffer {
  return Buffer.concat(
    rows.map((row) => {
      const head = Buffer.alloc(4)
      head.writeInt32LE(row.length)
      return Buffer.concat([head, kind === 'f' ? bytesOf(new Float32Array(row)) : Buffer.from(row)])
    }),
  )
}

test('fvecs, bvecs and bare floats', async (t) => {
  const rows = [
    [1, 2, 3],
    [4, 5, 255],
  ]
  t.deepEqual((await read(file('x.fvecs', vecs(rows, 'f')))).rows, rows)
  t.deepEqual((await read(file('x.bvecs', vecs(rows, 'b')))).rows, rows)
  const bare = file('x.f32bin', bytesOf(new Float32Array(rows.flat())))
  t.deepEqual((await read(bare, { dimensions: 3 })).rows, rows)
  t.deepEqual((await read(file('empty.fvecs', ''))).rows, [])
  const unstated = await failure(t, read(bare))
  t.is(unstated.exit, 2)
  t.regex(unstated.hint ?? '', /--dim/)
})

test('fvecs and bare floats: damage names the row', async (t) => {
  const good = vecs([[1, 2, 3]], 'f')
  const message = async (name: string, content: Uint8Array, dimensions?: number) => {
    const error = await failure(t, read(file(name, content), { dimensions }))
    t.is(error.details['source'], path.join(folder, name))
    return error.message
  }
  t.regex(
    await message('cut.fvecs', Buffer.concat([good, good.subarray(0, 9)])),
    /ends in the middle of row 1/,
  )
  t.regex(await message('two.fvecs', vecs([[1, 2, 3], [1, 2], [1, 2, 3, 4]], 'f')), /row 1: has 2 dimensions/) // prettier-ignore
  t.regex(await message('text.fvecs', Buffer.from('some text')), /row 0: says it has \d+ dimensions/)
  t.regex(await message('short.fvecs', Buffer.from([1])), /row 0: says it has cut off dimensions/)
  t.regex(await message('cut.f32', new Uint8Array(20), 3), /ends in the middle of row 1/)
})

test('rows larger than a chunk of the stream arrive whole', async (t) => {
  const rows = 40
  const dimensions = 60_000
  const values = Float32Array.from({ length: rows * dimensions }, (_, i) => 1 + (i % 97))
  const { batches } = await read(file('wide.f32', bytesOf(values)), { dimensions })
  t.true(
    batches.every((batch) =>
      batch.vectors.every((value, i) => value === 1 + ((batch.origins[0]! * dimensions + i) % 97)),
    ),
  )
  t.is(batches.reduce((sum, batch) => sum + batch.rows, 0), rows) // prettier-ignore
})

// ---- which file

test('a file that is not there, a folder, an unknown ending', async (t) => {
  t.is((await failure(t, read(path.join(folder, 'none.jsonl')))).exit, 4)
  t.is((await failure(t, read(folder, { format: 'npy' }))).exit, 8)
  const unknown = await failure(t, read(file('x.parquet', 'PAR1')))
  t.is(unknown.exit, 2)
  t.regex(unknown.hint ?? '', /--format/)
})

const posix = process.platform === 'win32' ? test.skip : test
posix('an input that cannot be opened fails its first read, not the process', async (t) => {
  const where = path.join(folder, 'socket.jsonl')
  const server = createServer().listen(where)
  t.teardown(() => server.close())
  const source = await openSource(where)
  // Once this has failed the source, which asked for the file first, has failed too, with nobody reading.
  await setImmediate()
  await t.throwsAsync(open(where))
  await t.throwsAsync(source.readSome(), { message: /socket\.jsonl/ })
})
