/**
 * Records, versions and reports between the shapes users see and those the binding takes.
 */
import { types } from 'node:util'

import { ChassisError, describe } from './errors.js'
import { checkId } from './ids.js'
import { checkNames } from './options.js'
import { decodePayload, encodePayload } from './payload.js'
import type { CheckReport, IdOf, IdType, PayloadInput, StoredRecord } from './types.js'
import { toVector } from './vectors.js'

const RECORD = new Set(['id', 'vector', 'payload'])
const MAX_U64 = 2n ** 64n - 1n

/** A record as the binding takes it. */
export interface NativeInput {
  id: number | bigint | string | undefined
  vector: Float32Array
  payload: Uint8Array | undefined
}

/** A vector alone or a record with one. */
export function toRecord(input: unknown): NativeInput {
  if (!isRecord(input)) return { id: undefined, vector: toVector(input, 'vector'), payload: undefined }
  checkNames(input, RECORD, 'field of a record')
  const { id, vector, payload } = input as { id?: unknown; vector?: unknown; payload?: PayloadInput }
  return {
    id: id === undefined ? undefined : checkId(id),
    vector: toVector(vector, 'vector'),
    payload: payload === undefined ? undefined : encodePayload(payload),
  }
}

function isRecord(input: unknown): input is object {
  if (typeof input !== 'object' || input === null) return false
  return !Array.isArray(input) && !ArrayBuffer.isView(input) && !types.isAnyArrayBuffer(input)
}

/** A record as users see it. */
export function toStored<T extends IdType, P>(
  id: IdOf<T>,
  record: { vector: Float32Array; payload?: Uint8Array } | null,
): StoredRecord<T, P> | undefined {
  if (record === null) return undefined
  const { vector, payload } = record
  const own = (typeof id === 'bigint' && id <= Number.MAX_SAFE_INTEGER ? Number(id) : id) as IdOf<T>
  return payload === undefined
    ? { id: own, vector }
    : { id: own, vector, payload: decodePayload(payload) as P }
}

/** A version number of the caller's. */
export function toVersion(version: unknown): number | bigint {
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 0) return version
  if (typeof version === 'bigint' && version >= 0n && version <= MAX_U64) return version
  const text = `userVersion must be a whole number from 0 to 2^53 - 1 or a bigint up to 2^64 - 1, not ${describe(version)}`
  throw new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', text)
}

/** A check's report as users see it. */
export function toReport(report: Omit<CheckReport, 'ok'>): CheckReport {
  const { problems, nodes, blocks } = report
  return { ok: problems.length === 0, problems, nodes, blocks }
}
