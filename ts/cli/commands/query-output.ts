/**
 * Results of searches as text, tab-separated values, JSON rows, or one JSON object a query.
 */
import type { IdType, Include, SearchResult } from '../../index.js'
import { fixed, shortFloat, table } from '../format.js'
import { jsonLine, type Output } from '../output.js'
import type { RowId } from '../readers/reader.js'

export const OUTPUT_FORMATS = ['text', 'tsv', 'jsonl', 'json'] as const
export type OutputFormat = (typeof OUTPUT_FORMATS)[number]

export interface Named {
  readonly query: RowId
  readonly result: SearchResult<IdType, Include>
}

export interface PrintOptions {
  /** Whether the queries came from a file of many, so that rows must say which one they answer. */
  readonly many: boolean
  /** Whether this is the first batch, which carries the header. */
  readonly first: boolean
  readonly k: number
}

/** Longer payloads are cut in text, where they would wrap; other formats have all of them. */
const PAYLOAD_WIDTH = 80

export async function printResults(
  output: Output,
  format: OutputFormat,
  results: readonly Named[],
  options: PrintOptions,
): Promise<void> {
  switch (format) {
    case 'json':
      return output.lines(results.map(({ query, result }) => jsonObject(output, query, result, options)))
    case 'jsonl':
      return output.lines(
        results.flatMap(({ query, result }) =>
          rowsOf(result).map((row, i) =>
            jsonLine({ ...(options.many ? { query } : {}), rank: i + 1, ...row }),
          ),
        ),
      )
    case 'tsv':
      return output.lines(tsv(results, options))
    case 'text':
      return output.lines(text(results, options))
  }
}

function jsonObject(
  output: Output,
  query: RowId,
  result: Named['result'],
  { many, k }: PrintOptions,
): string {
  return output.tagged({ ...(many ? { query } : {}), k, results: rowsOf(result) })
}

/** Rows as JSON has them: floats in their shortest form, and no key for what was not asked for. */
function rowsOf(result: Named['result']): Record<string, unknown>[] {
  return result.toArray().map(({ id, distance, similarity, ...included }) => {
    const { payload, vector } = included as { payload?: unknown; vector?: Float32Array }
    return {
      id,
      distance: shortFloat(distance),
      similarity: shortFloat(similarity),
      ...('payload' in included ? { payload: payload ?? null } : {}),
      ...(vector === undefined ? {} : { vector: Array.from(vector, shortFloat) }),
    }
  })
}

function columnsOf(results: readonly Named[], many: boolean): string[] {
  const first = results[0]?.result
  return [
    ...(many ? ['query'] : []),
    'rank',
    'id',
    'distance',
    'similarity',
    ...(first?.payloads === undefined ? [] : ['payload']),
    ...(first?.vectors === undefined ? [] : ['vector']),
  ]
}

/** Cells in the order of [`columnsOf`]. Strings that hold tabs or line ends become JSON strings, so rows stay rows. */
function cells(row: Record<string, unknown>, columns: readonly string[]): string[] {
  return columns.map((column) => {
    const value = row[column]
    if (column === 'payload') return value === null ? '' : jsonLine(value)
    if (typeof value === 'string' && !/[\t\r\n"]/.test(value)) return value
    return typeof value === 'object' || typeof value === 'string' ? jsonLine(value) : String(value)
  })
}

function rowsWithRank(results: readonly Named[]): Record<string, unknown>[] {
  return results.flatMap(({ query, result }) =>
    rowsOf(result).map((row, i) => ({ query, rank: i + 1, ...row })),
  )
}

function tsv(results: readonly Named[], { many, first }: PrintOptions): string[] {
  const columns = columnsOf(results, many)
  const rows = rowsWithRank(results).map((row) => cells(row, columns).join('\t'))
  return first ? [columns.join('\t'), ...rows] : rows
}

function text(results: readonly Named[], { many, first }: PrintOptions): string[] {
  const columns = columnsOf(results, many)
  const rows = rowsWithRank(results).map(({ distance, similarity, ...row }) =>
    cells(
      { ...row, distance: fixed(distance as number), similarity: fixed(similarity as number) },
      columns,
    ).map((cell, i) => (columns[i] === 'payload' || columns[i] === 'vector' ? cut(cell) : cell)),
  )
  if (rows.length === 0) return first && !many ? ['no results'] : []
  const lines = table(columns, rows)
  return first ? lines : lines.slice(1)
}

function cut(cell: string): string {
  return cell.length <= PAYLOAD_WIDTH ? cell : `${cell.slice(0, PAYLOAD_WIDTH - 1)}…`
}
