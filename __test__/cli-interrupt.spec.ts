/**
 * A build that is stopped at any moment leaves the old index or the new one, and nothing beside it.
 */
import { execFileSync } from 'node:child_process'
import { createWriteStream, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import test, { type ExecutionContext } from 'ava'

import { chassis, json, jsonlRows, type Running, start } from './cli-support.js'
import { place } from './support.js'

/** Enough rows for the first batch to be on its way into the index while the input is still open. */
const ROWS = 9000

/** Starts a build that reads from a pipe that stays open, and waits until it has an index under construction. */
async function underWay(t: ExecutionContext, target: string, ...more: string[]): Promise<Running> {
  const running = start(['build', '-', '-o', target, '--ef-construction', '8', ...more])
  t.teardown(() => running.child.kill('SIGKILL'))
  running.child.stdin?.write(jsonlRows(ROWS, 4, 100_000))
  const building = () => readdirSync(path.dirname(target)).some((name) => name.endsWith('.building'))
  // An index that is added to shows nothing from outside; its build is at work once its input was read.
  const read = () => (running.child.stdin?.writableLength ?? 0) === 0
  await until(t, more.includes('--append') ? read : building)
  return running
}

async function until(t: ExecutionContext, condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 3000) t.fail('waited for 30 seconds')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function old(t: ExecutionContext): Promise<{ target: string; bytes: Buffer }> {
  const target = place(t, 'docs.chassis')
  writeFileSync(`${target}.jsonl`, jsonlRows(50, 4))
  t.is((await chassis(['build', `${target}.jsonl`, '-o', target, '--ef-construction', '8'])).exit, 0)
  return { target, bytes: readFileSync(target) }
}

const files = (target: string) => readdirSync(path.dirname(target)).filter((name) => !name.endsWith('.jsonl'))

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} during a first build leaves nothing`, async (t) => {
    const target = place(t, 'docs.chassis')
    const { child, ended } = await underWay(t, target)
    child.kill(signal)
    const { exit, stderr } = await ended
    t.is(exit, 130)
    t.regex(stderr, /interrupted/)
    t.deepEqual(files(target), [])
  })
}

test('SIGINT during a replacement leaves the old index, byte for byte', async (t) => {
  const { target, bytes } = await old(t)
  const { child, ended } = await underWay(t, target, '--force')
  child.kill('SIGINT')
  t.is((await ended).exit, 130)
  t.deepEqual(readFileSync(target), bytes)
  t.deepEqual(files(target), ['docs.chassis'])
})

test('SIGINT while adding leaves the rows of before', async (t) => {
  const { target } = await old(t)
  const { child, ended } = await underWay(t, target, '--append')
  child.kill('SIGINT')
  t.is((await ended).exit, 130)
  t.like((await json(['verify', '--deep', target])).data, { ok: true, count: 50 })
  t.deepEqual(files(target), ['docs.chassis'])
})

/** More than a pipe holds, so that most of it has been read once all of it is written. */
const MORE_THAN_A_PIPE = ' '.repeat(1 << 20)

for (const command of ['query', 'build'] as const) {
  test(`SIGINT while ${command} waits for standard input ends the wait`, async (t) => {
    const { target } = await old(t)
    const args = command === 'query' ? [target] : ['-', '-o', `${target}.new`]
    const { child, ended } = start([command, ...args])
    await new Promise((resolve) => child.stdin?.write(MORE_THAN_A_PIPE, resolve))
    child.kill('SIGINT')
    const { exit, stderr } = await ended
    t.is(exit, 130)
    t.regex(stderr, /interrupted/, 'a command that does not get there ends without a word')
    t.deepEqual(files(target), ['docs.chassis'])
  })
}

const linux = process.platform === 'linux' ? test : test.skip
linux('SIGINT while build waits for a named pipe ends the wait', async (t) => {
  const target = place(t, 'docs.chassis')
  const fifo = `${target}.jsonl`
  execFileSync('mkfifo', [fifo])
  const writer = createWriteStream(fifo, { flags: 'r+' })
  t.teardown(() => writer.destroy())
  const { child, ended } = start(['build', fifo, '-o', target])
  t.teardown(() => child.kill('SIGKILL'))
  await new Promise((resolve) => writer.write(MORE_THAN_A_PIPE, resolve))
  child.kill('SIGINT')
  const { exit, stderr } = await ended
  t.is(exit, 130)
  t.regex(stderr, /interrupted/)
})

test('SIGKILL leaves the old index, and the next build tidies up', async (t) => {
  const { target, bytes } = await old(t)
  const { child, ended } = await underWay(t, target, '--force')
  child.kill('SIGKILL')
  t.is((await ended).exit, 'SIGKILL')
  t.deepEqual(readFileSync(target), bytes)
  t.is(files(target).length, 2, 'what was under construction is still there')
  t.is(
    (await chassis(['build', `${target}.jsonl`, '-o', target, '--force', '--ef-construction', '8'])).exit,
    0,
  )
  t.deepEqual(files(target), ['docs.chassis'])
})

test('a build leaves the index under construction of another running build alone', async (t) => {
  const { target } = await old(t)
  const fresh = path.join(path.dirname(target), 'fresh.chassis')
  const first = await underWay(t, fresh)
  t.is((await chassis(['build', `${target}.jsonl`, '-o', fresh, '--ef-construction', '8'])).exit, 0)
  first.child.stdin?.end()
  const { exit, stderr } = await first.ended
  t.is(exit, 2, 'the target has appeared meanwhile')
  t.regex(stderr, /is there already/)
  t.like((await json(['stats', fresh])).data, { count: 50 })
})
