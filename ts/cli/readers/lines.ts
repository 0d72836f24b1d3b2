/**
 * A source as lines of text: UTF-8 with or without a byte order mark, ended by LF or CRLF.
 */
import { rowError } from '../errors.js'
import type { ByteSource } from './source.js'

/** A longer line is no record but a file of another kind; it would only fill the memory. */
const MAX_LINE = 256 << 20
const LF = 0x0a

export interface Line {
  /** Counted from 1. */
  readonly number: number
  readonly text: string
}

/** Every line that is not blank. */
export async function* textLines(source: ByteSource): AsyncGenerator<Line, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let number = 0
  const line = (bytes: Uint8Array): Line | undefined => {
    number++
    let text
    try {
      text = decoder.decode(bytes)
    } catch {
      throw rowError(source.name, 'line', number, 'not valid UTF-8', 'save the file as UTF-8')
    }
    if (number === 1 && text.startsWith('\ufeff')) text = text.slice(1)
    text = text.trim()
    return text === '' ? undefined : { number, text }
  }
  let rest: Buffer[] = []
  let restBytes = 0
  for (let chunk = await source.readSome(); chunk !== undefined; chunk = await source.readSome()) {
    let start = 0
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      const piece = chunk.subarray(start, end)
      const found = line(rest.length === 0 ? piece : Buffer.concat([...rest, piece]))
      rest = []
      restBytes = 0
      start = end + 1
      if (found !== undefined) yield found
    }
    rest.push(chunk.subarray(start))
    restBytes += chunk.length - start
    if (restBytes > MAX_LINE) {
      throw rowError(
        source.name,
        'line',
        number + 1,
        'longer than 256 MiB',
        'a jsonl file has one record a line',
      )
    }
  }
  const last = restBytes > 0 ? line(Buffer.concat(rest)) : undefined
  if (last !== undefined) yield last
}
