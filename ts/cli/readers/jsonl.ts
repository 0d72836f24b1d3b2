/**
 * One JSON value a line: an object with id, vector and payload, or a bare array of numbers.
 */
import { rowError } from '../errors.js'
import { brief, grouped } from '../format.js'
import { IdRule } from './ids.js'
import { type Line, textLines } from './lines.js'
import { type BadRows, batchRows, type IdType, type Reader, type RowBatch, type RowId } from './reader.js'
import type { ByteSource } from './source.js'

export interface JsonlOptions {
  /** The field with the id, when it is stated: each line must have it. */
  readonly idField: string | undefined
  readonly vectorField: string | undefined
  /** One field to keep as the payload. Some line must have it when it is stated. */
  readonly payloadField: string | undefined
  /** Several fields to keep, as an object; `*` for all but id and vector. Overrides `payloadField`. */
  readonly payloadFields: readonly string[] | undefined
  readonly dimensions: number | undefined
  readonly idType: IdType | undefined
  readonly bad: BadRows
}

/** The longest payload in bytes of UTF-8. As in the engine. */
const MAX_PAYLOAD = 16 << 20
/** No payload takes more bytes than this for each character of its line: 1e20 is stored as 100000000000000000000. */
const MOST_BYTES = 8

/** Fields that other programs call the vector; named in a hint, never taken silently. */
const USUAL_NAMES = ['vector', 'embedding', 'embeddings', 'values', 'emb']

export function jsonlReader(source: ByteSource, options: JsonlOptions): Reader {
  const parser = new RowParser(source, options)
  return {
    format: 'jsonl',
    unit: 'line',
    get dimensions() {
      return parser.dimensions
    },
    get idType() {
      return parser.hasIds === true ? parser.rule.type : undefined
    },
    fraction: () => source.fraction(),
    batches: () => batches(source, parser),
  }
}

async function* batches(source: ByteSource, parser: RowParser): AsyncGenerator<RowBatch, void, undefined> {
  let rows: Row[] = []
  for await (const line of textLines(source)) {
    const row = parser.parse(line)
    if (row === undefined) continue
    rows.push(row)
    if (rows.length === batchRows(row.vector.length)) {
      yield pack(rows)
      rows = []
    }
  }
  parser.finish()
  if (rows.length > 0) yield pack(rows)
}

interface Row {
  readonly line: number
  readonly id: RowId | undefined
  readonly vector: Float32Array
  readonly payload: unknown
}

function pack(rows: readonly Row[]): RowBatch {
  const dimensions = rows[0]!.vector.length
  const vectors = new Float32Array(rows.length * dimensions)
  rows.forEach((row, i) => vectors.set(row.vector, i * dimensions))
  const ids = rows.map((row) => row.id).filter((id) => id !== undefined)
  const payloads = rows.map((row) => row.payload)
  return {
    rows: rows.length,
    dimensions,
    vectors,
    ...(ids.length === 0 ? {} : { ids }),
    ...(payloads.every((payload) => payload === undefined) ? {} : { payloads }),
    origins: rows.map((row) => row.line),
  }
}

class RowParser {
  dimensions: number | undefined
  /** Whether rows have ids; the first row decides, and all must agree. */
  hasIds: boolean | undefined
  readonly rule: IdRule
  readonly #source: ByteSource
  readonly #options: JsonlOptions
  readonly #idField: string
  readonly #vectorField: string
  /** Fields that were stated and that no line has had yet, and by which option. */
  readonly #awaited: Map<string, string>
  /** The first line, and what fields it has. */
  #first: { line: Line; fields: Record<string, unknown> } | undefined

  constructor(source: ByteSource, options: JsonlOptions) {
    this.#source = source
    this.#options = options
    this.#idField = options.idField ?? 'id'
    this.#vectorField = options.vectorField ?? 'vector'
    const { vectorField, payloadField, payloadFields = [] } = options
    const stated: [string | undefined, string][] = [
      [vectorField, '--vector-field'],
      [payloadField, '--payload-field'],
      ...payloadFields.map((name): [string, string] => [name, '--payload-fields']),
    ]
    this.#awaited = new Map(stated.filter((pair): pair is [string, string] => pair[0] !== undefined))
    this.#awaited.delete('*')
    this.dimensions = options.dimensions
    this.rule = new IdRule(options.idType)
  }

  /** The row of a line; nothing when its vector is bad and such rows are left out. */
  parse(line: Line): Row | undefined {
    const value = this.#json(line)
    if (Array.isArray(value) && typeof value[0] === 'object' && value[0] !== null) {
      throw this.#error(
        line,
        'is an array of records',
        `this looks like plain JSON; make jsonl of it: jq -c '.[]' FILE`,
      )
    }
    const record = Array.isArray(value) ? { [this.#vectorField]: value } : value
    if (typeof record !== 'object' || record === null) {
      throw this.#error(line, `is ${brief(value)}, not an object`, 'write one object or one array a line')
    }
    const fields = record as Record<string, unknown>
    this.#look(line, fields)
    const id = this.#id(line, fields)
    const vector = this.#vector(line, fields)
    if (typeof vector === 'string') {
      this.#options.bad.add('line', line.number, vector)
      return undefined
    }
    this.dimensions ??= vector.length
    return { line: line.number, id, vector, payload: this.#payload(line, fields) }
  }

  /** A field that no line has is a typing mistake, and would be kept as nothing without a word. */
  finish(): void {
    const [missing] = this.#awaited
    if (missing === undefined || this.#first === undefined) return
    const { line, fields } = this.#first
    const problem = `has no field ${JSON.stringify(missing[0])}, and no line after it has one`
    throw this.#error(line, problem, `${missing[1]} names it; ${there(line, fields)}`)
  }

  #look(line: Line, fields: Record<string, unknown>): void {
    this.#first ??= { line, fields }
    for (const name of this.#awaited.keys()) if (Object.hasOwn(fields, name)) this.#awaited.delete(name)
  }

  #json(line: Line): unknown {
    try {
      return JSON.parse(line.text)
    } catch (error) {
      const wholeFile = line.text === '[' || line.text === '{'
      const hint = wholeFile ? `this looks like plain JSON; make jsonl of it: jq -c '.[]' FILE` : undefined
      throw this.#error(
        line,
        `not valid JSON: ${(error as Error).message}`,
        hint ?? 'write one JSON value a line',
      )
    }
  }

  #id(line: Line, fields: Record<string, unknown>): RowId | undefined {
    const idField = this.#idField
    const value = own(fields, idField)
    if (this.#options.idField !== undefined && (value === undefined || value === null)) {
      const problem = `has no ${value === null ? 'id in the field' : 'field'} ${JSON.stringify(idField)}`
      throw this.#error(line, problem, `--id-field names it; ${there(line, fields)}`)
    }
    this.hasIds ??= value !== undefined && value !== null
    if (!this.hasIds && (value === undefined || value === null)) return undefined
    if (!this.hasIds) {
      throw this.#error(
        line,
        `has an ${idField}, but the lines before it have none`,
        'give every line an id, or none',
      )
    }
    const accepted = this.rule.accept(value)
    if ('id' in accepted) return accepted.id
    throw this.#error(
      line,
      accepted.problem,
      `the id is read from the field ${JSON.stringify(idField)} (--id-field)`,
    )
  }

  /** The vector, or a sentence on what is wrong with it. */
  #vector(line: Line, fields: Record<string, unknown>): Float32Array | string {
    const name = this.#vectorField
    const value = own(fields, name)
    if (value === undefined && this.dimensions === this.#options.dimensions) {
      const other = USUAL_NAMES.find((usual) => Array.isArray(own(fields, usual)))
      if (other !== undefined)
        throw this.#error(line, `has no field "${name}"`, `pass --vector-field ${other}`)
    }
    if (!Array.isArray(value))
      return `the field "${name}" is ${value === undefined ? 'missing' : 'not an array'}`
    if (value.length === 0) return 'the vector is empty'
    if (this.dimensions !== undefined && value.length !== this.dimensions) {
      return `the vector has ${value.length} values, expected ${this.dimensions}`
    }
    const vector = new Float32Array(value.length)
    for (let i = 0; i < value.length; i++) {
      const element: unknown = value[i]
      if (typeof element !== 'number') return `value ${i} of the vector is ${brief(element)}, not a number`
      vector[i] = element
      if (!Number.isFinite(vector[i]))
        return `value ${i} of the vector is ${element}, too large for a 32-bit float`
    }
    return vector
  }

  #payload(line: Line, fields: Record<string, unknown>): unknown {
    const payload = this.#selected(fields)
    if (payload === undefined || line.text.length * MOST_BYTES <= MAX_PAYLOAD) return payload
    const bytes = Buffer.byteLength(JSON.stringify(payload))
    if (bytes <= MAX_PAYLOAD) return payload
    throw this.#error(
      line,
      `the payload has ${grouped(bytes)} bytes; allowed are up to ${grouped(MAX_PAYLOAD)}`,
      'keep less of it (--payload-fields), or keep it elsewhere under the id',
    )
  }

  /** What of a record is to be kept. */
  #selected(fields: Record<string, unknown>): unknown {
    const { payloadFields, payloadField = 'payload' } = this.#options
    if (payloadFields === undefined) return own(fields, payloadField) ?? undefined
    const names = payloadFields.includes('*')
      ? Object.keys(fields).filter((name) => name !== this.#idField && name !== this.#vectorField)
      : payloadFields.filter((name) => Object.hasOwn(fields, name))
    return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, fields[name]]))
  }

  #error(line: Line, problem: string, hint: string) {
    return rowError(this.#source.name, 'line', line.number, problem, hint)
  }
}

/** The value of a field, not of what every object inherits. */
function own(fields: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}

/** What fields a line has, in a few words. */
function there(line: Line, fields: Record<string, unknown>): string {
  const names = line.text.trimStart().startsWith('[') ? [] : Object.keys(fields)
  if (names.length === 0) return 'the line has no fields'
  return `the line has ${names.slice(0, 8).map(brief).join(', ')}${names.length > 8 ? ', …' : ''}`
}
