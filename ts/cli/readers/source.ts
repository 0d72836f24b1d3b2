/**
 * Bytes in order, from a file or from standard input, in pieces of any size.
 */
import { constants, createReadStream, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'

import { CliError, Exit } from '../errors.js'

/** How much is asked of the operating system at a time. */
const CHUNK = 1 << 20

export class ByteSource {
  /** The path, or `standard input`. */
  readonly name: string
  /** Bytes in all, when known. */
  readonly size: number | undefined
  /** Bytes handed out so far. */
  position = 0
  readonly #chunks: AsyncIterator<Buffer>
  #buffered: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(name: string, size: number | undefined, chunks: AsyncIterable<Buffer>) {
    this.name = name
    this.size = size
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** How much has been handed out, from 0 to 1. */
  fraction(): number | undefined {
    return this.size === undefined || this.size === 0 ? undefined : Math.min(1, this.position / this.size)
  }

  /** The next `count` bytes; fewer at the end of the source, none after it. */
  async read(count: number): Promise<Buffer> {
    const parts = [this.#buffered]
    let have = this.#buffered.length
    while (have < count) {
      const chunk = await this.#next()
      if (chunk === undefined) break
      parts.push(chunk)
      have += chunk.length
    }
    const all = parts.length === 1 ? this.#buffered : Buffer.concat(parts, have)
    const taken = all.subarray(0, count)
    this.#buffered = all.subarray(taken.length)
    this.position += taken.length
    return taken
  }

  /** Whatever comes next, at least one byte, or nothing at the end. */
  async readSome(): Promise<Buffer | undefined> {
    if (this.#buffered.length > 0) return this.read(this.#buffered.length)
    const chunk = await this.#next()
    if (chunk !== undefined) this.position += chunk.length
    return chunk
  }

  /** Lets go of the file. */
  async close(): Promise<void> {
    this.#ended = true
    await this.#chunks.return?.()
  }

  async #next(): Promise<Buffer | undefined> {
    while (!this.#ended) {
      const { value, done } = await this.#chunks.next()
      if (done === true) this.#ended = true
      else if (value.length > 0) return value
    }
    return undefined
  }
}

/** What an input is called in messages. */
export function sourceName(path: string): string {
  return path === '-' ? 'standard input' : path
}

/** Opens a file, or standard input for `-`. The signal ends a read that waits. */
export async function openSource(path: string, signal?: AbortSignal): Promise<ByteSource> {
  if (path === '-') return new ByteSource(sourceName(path), undefined, stoppable(process.stdin, signal))
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new CliError(Exit.notFound, 'ERR_CHASSIS_NOT_FOUND', `there is no file ${path}`, {
      hint: 'check the path of the input',
      cause: error,
    })
  })
  if (info.isDirectory()) {
    throw new CliError(Exit.io, 'ERR_CHASSIS_NOT_A_FILE', `${path} is a folder, not a file`, {
      hint: 'name a file with vectors in it',
    })
  }
  // Only Linux tells a pipe that waits for its writer from one that has ended.
  const waits = info.isFIFO() && process.platform === 'linux'
  const stream = waits ? pipe(path) : createReadStream(path, { highWaterMark: CHUNK })
  return new ByteSource(path, info.isFile() ? info.size : undefined, stoppable(stream, signal))
}

/** A pipe is read without blocking: the process could not end while a thread waits for a silent one. */
function pipe(path: string): Readable {
  return new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) })
}

function stoppable(stream: Readable, signal: AbortSignal | undefined): Readable {
  // The next read throws it, which may not have begun.
  stream.on('error', () => {})
  return signal === undefined ? stream : addAbortSignal(signal, stream)
}
