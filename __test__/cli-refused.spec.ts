/**
 * The command line where the operating system refuses: a full disk behind stdout, and paths that name no file.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import test, { type ExecutionContext } from 'ava'

import { chassis, json, jsonlRows, MAIN } from './cli-support.js'
import { place } from './support.js'

const linux = process.platform === 'linux' ? test : test.skip
const posix = process.platform === 'win32' ? test.skip : test

/** A folder with `docs.chassis` made of `docs.jsonl`, and a way to name files in it. */
async function built(t: ExecutionContext): Promise<(name: string) => string> {
  const folder = path.dirname(place(t))
  const at = (name: string) => path.join(folder, name)
  writeFileSync(at('docs.jsonl'), jsonlRows(200, 4))
  t.is((await chassis(['build', at('docs.jsonl'), '-o', at('docs.chassis')])).exit, 0)
  return at
}

// ---- stdout

linux('a full disk behind stdout: exit 8 and a message on stderr', async (t) => {
  const at = await built(t)
  const index = at('docs.chassis')
  const full = openSync('/dev/full', 'w')
  for (const args of [
    ['stats', index],
    ['stats', index, '--json'],
    ['query', index, '--id', '1', '--json'],
    ['query', index, '--queries', at('docs.jsonl')],
    ['verify', index],
    ['stats', '--help'],
    ['--version'],
  ]) {
    const { exit, stderr } = await chassis(args, { stdout: full })
    t.is(exit, 8, args.join(' '))
    t.is(stderr, 'error: standard output could not be written: no space left on device\n')
  }
})

posix('a file that takes a part of the output: exit 8, never silence', async (t) => {
  const at = await built(t)
  // The limit is one block of 512 or 1,024 bytes; what is written has more and goes out in one piece.
  const shell = 'ulimit -f 1; exec "$0" "$@" > results.txt'
  const query = [MAIN, 'query', at('docs.chassis'), '--id', '1', '-k', '200']
  const { status, stderr } = spawnSync('sh', ['-c', shell, process.execPath, ...query], {
    cwd: at('.'),
    encoding: 'utf8',
  })
  t.true(statSync(at('results.txt')).size > 0)
  t.is(status, 8)
  t.is(stderr, 'error: standard output could not be written: file too large\n')
})

// ---- paths

test('build refuses a target that cannot be a file before it reads the input', async (t) => {
  const at = await built(t)
  mkdirSync(at('folder'))
  writeFileSync(at('bad.jsonl'), 'the build would end here')
  const before = readdirSync(at('.'))
  for (const how of [[], ['--force']]) {
    for (const [target, exit, code, message] of [
      [`${at('new')}/`, 2, 'ERR_CHASSIS_INVALID_PATH', /new\/ ends in a slash/],
      [`${at('docs.chassis')}/`, 2, 'ERR_CHASSIS_INVALID_PATH', /docs\.chassis\/ ends in a slash/],
      [at('folder'), 8, 'ERR_CHASSIS_NOT_A_FILE', /folder is a folder, not a file/],
      [at('none/x.chassis'), 4, 'ERR_CHASSIS_NOT_FOUND', /there is no folder .*none/],
      [at('docs.chassis/x'), 4, 'ERR_CHASSIS_NOT_FOUND', /folder .*docs\.chassis: .*docs\.chassis is a file/],
      [at('docs.chassis/x/y'), 4, 'ERR_CHASSIS_NOT_FOUND', /folder .*x: .*docs\.chassis is a file/],
    ] as const) {
      const { data } = await json(['build', at('bad.jsonl'), '-o', target, ...how])
      t.like(data, { exit, code }, target)
      t.regex(data['message'] as string, message)
      // Where a file is, no folder can be made.
      t.is(/mkdir/.test(data['hint'] as string), target.includes('none'), data['hint'] as string)
    }
  }
  t.deepEqual(readdirSync(at('.')), before)
})

posix('build refuses a pipe, and a link that leads nowhere, before it reads the input', async (t) => {
  const at = await built(t)
  writeFileSync(at('bad.jsonl'), 'the build would end here')
  execFileSync('mkfifo', [at('fifo')])
  for (const how of [[], ['--force']]) {
    const { data } = await json(['build', at('bad.jsonl'), '-o', at('fifo'), ...how])
    t.like(data, { exit: 8, code: 'ERR_CHASSIS_NOT_A_FILE' })
  }
  symlinkSync(at('nowhere'), at('link.chassis'))
  const { data } = await json(['build', at('bad.jsonl'), '-o', at('link.chassis')])
  t.like(data, { exit: 2, code: 'ERR_CHASSIS_ALREADY_EXISTS' })
})
