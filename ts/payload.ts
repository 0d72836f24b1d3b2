/**
 * Payloads: bytes in the file, JSON values or bytes in JavaScript.
 *
 * One rule tells them apart. A JSON value is stored as its UTF-8 text, so other languages and people can read it;
 * a `Uint8Array` is stored behind one zero byte, which no JSON text starts with. Bytes that are neither (written
 * by a program that does not know the rule) are read as a `Uint8Array` of all of them.
 */
import { types } from 'node:util'

import { ChassisError, describe } from './errors.js'
import { checkThere, lengthOf } from './memory.js'
import type { Payload, PayloadInput } from './types.js'

const RAW = 0
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The stored bytes of a payload. */
export function encodePayload(payload: PayloadInput): Uint8Array {
  if (types.isUint8Array(payload)) {
    checkThere(payload, 'the payload')
    const bytes = new Uint8Array(lengthOf(payload) + 1)
    bytes[0] = RAW
    bytes.set(payload, 1)
    return bytes
  }
  // These become `{}` in JSON: their content would be lost in silence.
  if (
    ArrayBuffer.isView(payload) ||
    types.isAnyArrayBuffer(payload) ||
    types.isMap(payload) ||
    types.isSet(payload)
  ) {
    throw invalid(`a payload is a JSON value or a Uint8Array, not ${describe(payload)}`)
  }
  let text: string | undefined
  try {
    text = JSON.stringify(payload)
  } catch (cause) {
    const reason = types.isNativeError(cause) ? cause.message : describe(cause)
    throw invalid(`the payload is no JSON value: ${reason}`, { cause })
  }
  if (text === undefined) throw invalid(`a payload is a JSON value or a Uint8Array, not ${describe(payload)}`)
  return encoder.encode(text)
}

/** The payload that stored bytes stand for. */
export function decodePayload(bytes: Uint8Array): Payload {
  if (bytes.length > 0 && bytes[0] === RAW) return bytes.subarray(1)
  try {
    return JSON.parse(decoder.decode(bytes)) as Payload
  } catch {
    return bytes
  }
}

/** Payloads of a batch in one piece: all bytes, and a length per row, -1 where there is none. */
export function packPayloads(payloads: unknown, rows: number): { bytes: Uint8Array; lengths: Float64Array } {
  if (!Array.isArray(payloads)) throw invalid(`payloads must be an array, not ${describe(payloads)}`)
  // Before they are read: a list of holes may be of any length. Half a vector is refused later, whatever is beside it.
  const count = Number.isInteger(rows) ? rows : 0
  if (count === rows && payloads.length !== rows) {
    throw invalid(`${payloads.length} payloads for ${rows} vectors`)
  }
  const lengths = new Float64Array(count)
  const parts: Uint8Array[] = []
  let total = 0
  for (let i = 0; i < count; i++) {
    const payload = payloads[i] as PayloadInput | undefined
    if (payload === undefined) {
      lengths[i] = -1
      continue
    }
    const part = encodePayload(payload)
    parts.push(part)
    lengths[i] = part.length
    total += part.length
  }
  const bytes = new Uint8Array(total)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return { bytes, lengths }
}

function invalid(message: string, options?: { cause: unknown }): ChassisError {
  return new ChassisError('ERR_CHASSIS_INVALID_ARGUMENT', message, options)
}
