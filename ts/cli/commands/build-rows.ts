/**
 * Rows from a reader into an index, batch by batch, with progress, and with the place of a bad row in its error.
 */
import type { IdType, PayloadInput, VectorIndex } from '../../index.js'
import type { Context } from '../command.js'
import { CliError, toCliError } from '../errors.js'
import { type BadRows, type Reader, type RowBatch, withoutBadVectors } from '../readers/reader.js'
import { sourceName } from '../readers/source.js'

/** Where rows go. The index is opened at the first batch, when its dimensions and id type are known. */
export interface Sink {
  readonly metric: string
  open(rows: RowBatch): Promise<VectorIndex<IdType>>
}

export interface RowOptions {
  readonly input: string
  readonly bad: BadRows
  readonly threads: number | undefined
}

/** Adds every row that can be stored and returns their number. Nothing is committed. */
export async function addAll(
  context: Context,
  reader: Reader,
  sink: Sink,
  options: RowOptions,
): Promise<number> {
  const { output, signal } = context
  const progress = output.progress('building', 'vectors')
  let added = 0
  let before = 0
  try {
    for await (const batch of reader.batches()) {
      signal.throwIfAborted()
      const rows = withoutBadVectors(batch, reader.unit, sink.metric, options.bad)
      const index = await sink.open(batch)
      const after = reader.fraction()
      const onProgress = (done: number) => {
        const fraction =
          after === undefined ? undefined : before + (after - before) * (done / Math.max(1, rows.rows))
        progress.update(added + done, fraction)
      }
      await addRows(index, rows, { signal, threads: options.threads, onProgress }, (row) =>
        place(reader, options, row),
      )
      added += rows.rows
      before = after ?? 0
    }
    signal.throwIfAborted()
  } finally {
    progress.clear()
  }
  return added
}

interface CallOptions {
  readonly signal: AbortSignal
  readonly threads: number | undefined
  readonly onProgress: (done: number) => void
}

async function addRows(
  index: VectorIndex<IdType>,
  rows: RowBatch,
  options: CallOptions,
  name: (origin: number) => Place,
): Promise<void> {
  if (rows.rows === 0) return
  try {
    await index.addBatch(rows.vectors, {
      ids: rows.ids,
      payloads: rows.payloads as (PayloadInput | undefined)[] | undefined,
      ...options,
    })
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason
    const failure = toCliError(error)
    const row = await badRow(index, rows, failure)
    if (row === undefined) throw failure
    const { text, details } = name(rows.origins[row]!)
    // The engine counts rows within a batch, which means nothing to the reader of the message.
    const message = failure.message
      .replace(/^vector \d+/, 'the vector')
      .replace(/ at position \d+ does not fit/, ' does not fit')
    throw new CliError(failure.exit, failure.code, `${text}: ${message}`, {
      hint: failure.hint,
      details,
      cause: error,
    })
  }
}

interface Place {
  readonly text: string
  readonly details: Record<string, string | number>
}

function place({ unit }: Reader, { input }: RowOptions, origin: number): Place {
  const source = sourceName(input)
  return { text: `${source}, ${unit} ${origin}`, details: { source, [unit]: origin } }
}

/** Which row of the batch a refusal is about, if it is about one. */
async function badRow(
  index: VectorIndex<IdType>,
  rows: RowBatch,
  failure: CliError,
): Promise<number | undefined> {
  const stated = /^vector (\d+) /.exec(failure.message) ?? /\bat position (\d+)\b/.exec(failure.message)
  if (stated !== null && failure.code !== 'ERR_CHASSIS_DUPLICATE_ID') return Number(stated[1])
  if (failure.code !== 'ERR_CHASSIS_DUPLICATE_ID' || rows.ids === undefined) return undefined
  const seen = new Set<unknown>()
  for (const [row, id] of rows.ids.entries()) {
    if (seen.has(id) || (await index.has(id))) return row
    seen.add(id)
  }
  return undefined
}
