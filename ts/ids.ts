/**
 * Ids on their way in and out.
 *
 * One rule for integers, both ways: a `number` is taken where it is exact (0 to 2^53 − 1) and a `bigint` anywhere
 * (0 to 2^64 − 2); what comes back is a `number` where that is exact and a `bigint` above. So an id that went in as
 * `7n` comes back as `7`.
 */
import { types } from 'node:util'

import { ChassisError, describe } from './errors.js'
import { readable, room } from './memory.js'
import type { IdType } from './types.js'

const WORD = 2 ** 32
const MAX_U64 = 2n ** 64n - 1n

/** Refuses everything that would not arrive exactly as it was written. */
export function checkId(id: unknown): number | bigint | string {
  switch (typeof id) {
    case 'number':
      // 0 is added to make one of the two zeros.
      if (Number.isSafeInteger(id) && id >= 0) return id + 0
      throw invalidId(`id ${id} is not a whole number from 0 to 2^53 - 1; use a bigint for larger ones`)
    case 'bigint':
      if (id >= 0n && id <= MAX_U64) return id
      throw invalidId(`id ${id}n is outside 0 to 2^64 - 2`)
    case 'string':
      if (id.isWellFormed()) return id
      throw invalidId(`id ${describe(id)} holds half of a surrogate pair, which UTF-8 cannot store`)
    default:
      throw invalidId(`an id is a number, a bigint or a string, not ${describe(id)}`)
  }
}

/** Many ids in the form that the binding takes. */
export function packIds(ids: unknown, idType: IdType): BigUint64Array | string[] {
  if (types.isBigUint64Array(ids) && idType === 'integer') return readable(ids, 'ids')
  if (!Array.isArray(ids)) throw invalidId(`ids must be an array, not ${describe(ids)}`)
  // Not `map`, which passes over holes.
  if (idType === 'string') return Array.from(ids, (id, i) => ofType(checkId(id), 'string', i) as string)
  let packed = new BigUint64Array()
  let words = new Uint32Array()
  const length = ids.length
  for (let i = 0; i < length; i++) {
    const id = ofType(checkId(ids[i]), 'integer', i)
    // Not before: a list without ids may be of any length.
    if (i === 0) {
      packed = room(() => new BigUint64Array(length), length, 'ids')
      words = new Uint32Array(packed.buffer)
    }
    if (typeof id === 'number') {
      words[2 * i] = id % WORD
      words[2 * i + 1] = id / WORD
    } else {
      packed[i] = id as bigint
    }
  }
  return packed
}

/** Integer ids as users see them. Reading words avoids making a bigint of each. */
export function unpackIds(packed: BigUint64Array, count: number): (number | bigint)[] {
  const words = new Uint32Array(packed.buffer, packed.byteOffset, 2 * count)
  const ids = new Array<number | bigint>(count)
  for (let i = 0; i < count; i++) {
    const high = words[2 * i + 1] as number
    ids[i] = high < 2 ** 21 ? high * WORD + (words[2 * i] as number) : (packed[i] as bigint)
  }
  return ids
}

function ofType<V extends number | bigint | string>(id: V, idType: IdType, position: number): V {
  if ((typeof id === 'string') === (idType === 'string')) return id
  throw invalidId(`id ${describe(id)} at position ${position} does not fit an index with ${idType} ids`)
}

function invalidId(message: string): ChassisError {
  return new ChassisError('ERR_CHASSIS_INVALID_ID', message)
}
