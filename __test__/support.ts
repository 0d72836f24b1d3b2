/**
 * Shared by the specs: temporary folders, seeded data with clusters, and distances by their definition.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { ExecutionContext } from 'ava'

import { ChassisError } from '../dist/index.mjs'
import type { ChassisErrorCode, Metric } from '../dist/index.mjs'

/** A path in a new folder that is removed after the test. */
export function place(t: ExecutionContext, name = 'test.chassis'): string {
  const folder = mkdtempSync(join(tmpdir(), 'chassis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, name)
}

/** A seeded generator (mulberry32), so that every failure can be repeated. */
export function rng(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Rows around a few centers, back to back: what embeddings look like more than uniform noise does. */
export function clustered(rows: number, dimensions: number, seed: number): Float32Array {
  const random = rng(seed)
  const centers = Float32Array.from({ length: 16 * dimensions }, () => random() * 4 - 2)
  const out = new Float32Array(rows * dimensions)
  for (let row = 0; row < rows; row++) {
    const center = Math.floor(random() * 16) * dimensions
    for (let d = 0; d < dimensions; d++) out[row * dimensions + d] = centers[center + d]! + random() - 0.5
  }
  return out
}

/** Row `i` of rows that lie back to back. */
export function row(rows: Float32Array, dimensions: number, i: number): Float32Array {
  return rows.subarray(i * dimensions, (i + 1) * dimensions)
}

/** A distance by its definition, in double precision. */
export function distance(metric: Metric, a: Float32Array, b: Float32Array): number {
  const sum = (of: (x: number, y: number) => number): number => a.reduce((s, x, i) => s + of(x, b[i]!), 0)
  const dot = sum((x, y) => x * y)
  if (metric === 'l2') return Math.sqrt(sum((x, y) => (x - y) ** 2))
  if (metric === 'ip') return -dot
  return 1 - dot / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y))
}

/** The exact `k` nearest rows. */
export function nearest(
  metric: Metric,
  rows: Float32Array,
  query: Float32Array,
  k: number,
): [number, number][] {
  const count = rows.length / query.length
  const all = Array.from({ length: count }, (_, i): [number, number] => [
    i,
    distance(metric, query, row(rows, query.length, i)),
  ])
  return all.sort((a, b) => a[1] - b[1] || a[0] - b[0]).slice(0, k)
}

/** The call fails with this code: it rejects when it gives a promise, and throws when it does not. */
export async function fails(
  t: ExecutionContext,
  call: () => unknown,
  code: ChassisErrorCode,
): Promise<ChassisError> {
  let error: unknown
  try {
    await call()
  } catch (thrown) {
    error = thrown
  }
  t.true(error instanceof ChassisError, `expected ${code}, got ${String(error)}`)
  t.is((error as ChassisError).code, code, String(error))
  return error as ChassisError
}

/** An asynchronous method reports every failure by rejecting: calling it never throws. */
export async function rejects(
  t: ExecutionContext,
  call: () => Promise<unknown>,
  code: ChassisErrorCode,
): Promise<ChassisError> {
  let promise: Promise<unknown> | undefined
  t.notThrows(() => {
    promise = call()
    promise.catch(() => {})
  }, 'an asynchronous method threw')
  return fails(t, () => promise, code)
}
