/**
 * What the operating system refuses. Root is refused nothing, so it plays another user; that holds for the whole
 * process, hence synchronous calls in a file of their own.
 */
import { chmodSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

import test from 'ava'

import { VectorIndex } from '../dist/index.mjs'
import type { OpenOptions } from '../dist/index.mjs'
import { fails, place } from './support.js'

const NOBODY = 65_534
const posix = process.platform === 'win32' ? test.skip : test

posix('files and folders that may not be read or written', (t) => {
  const path = place(t)
  chmodSync(dirname(path), 0o755)
  const index = VectorIndex.openSync(path, { dimensions: 2, metric: 'l2' })
  index.addSync([1, 2])
  index.commitSync()
  index.closeSync()
  const locked = join(dirname(path), 'locked')
  mkdirSync(locked, { mode: 0o555 })
  const open = (where: string, options?: OpenOptions<'integer'>): VectorIndex =>
    VectorIndex.openSync(where, options)
  const asUser = process.getuid?.() === 0

  chmodSync(path, 0o000)
  if (asUser) process.seteuid?.(NOBODY)
  const unreadable = fails(t, () => open(path, { readOnly: true }), 'ERR_CHASSIS_PERMISSION_DENIED')
  const folder = fails(
    t,
    () => open(join(locked, 'new.chassis'), { dimensions: 2 }),
    'ERR_CHASSIS_PERMISSION_DENIED',
  )
  if (asUser) process.seteuid?.(0)

  chmodSync(path, 0o444)
  if (asUser) process.seteuid?.(NOBODY)
  const unwritable = fails(t, () => open(path), 'ERR_CHASSIS_PERMISSION_DENIED')
  const reader = open(path, { readOnly: true })
  t.is(reader.searchSync([1, 2]).distances[0], 0)
  reader.closeSync()
  if (asUser) process.seteuid?.(0)
  return Promise.all([unreadable, folder, unwritable]).then(() => {})
})
