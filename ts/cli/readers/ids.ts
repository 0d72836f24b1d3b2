/**
 * Ids: one rule for what an id may be, and ids that lie in a file of their own beside the vectors.
 */
import { inputError, rowError } from '../errors.js'
import { brief, grouped } from '../format.js'
import { textLines } from './lines.js'
import { elements, openNpy } from './npy-header.js'
import type { IdType, RowId } from './reader.js'
import { openSource, sourceName } from './source.js'

/** The largest integer id. As in the engine. */
const MAX_ID = (1n << 64n) - 2n
/** The longest string id in bytes of UTF-8. As in the engine. */
const MAX_ID_BYTES = 1024

/** Tells what type ids are and brings each into that type. The first id decides unless the caller has. */
export class IdRule {
  type: IdType | undefined

  constructor(type: IdType | undefined) {
    this.type = type
  }

  /** The id, or a sentence on what is wrong with it. */
  accept(value: unknown): { id: RowId } | { problem: string } {
    this.type ??= typeof value === 'string' ? 'string' : 'integer'
    return this.type === 'string' ? stringId(value) : integerId(value)
  }
}

function stringId(value: unknown): { id: RowId } | { problem: string } {
  if (typeof value === 'string') {
    if (value === '') return { problem: 'the id is an empty string' }
    const bytes = Buffer.byteLength(value)
    if (bytes > MAX_ID_BYTES)
      return { problem: `the id has ${grouped(bytes)} bytes; allowed are up to ${grouped(MAX_ID_BYTES)}` }
    if (value.isWellFormed()) return { id: value }
    return { problem: `the id ${describe(value)} holds half of a surrogate pair, which UTF-8 cannot store` }
  }
  if (typeof value === 'number' && Number.isSafeInteger(value)) return { id: String(value) }
  if (typeof value === 'bigint') return { id: String(value) }
  return { problem: `the id is ${describe(value)}, not a string` }
}

function integerId(value: unknown): { id: RowId } | { problem: string } {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && value >= 0) return { id: value }
    if (Number.isInteger(value) && value > 0) {
      return {
        problem: `the id ${value} is too large for a JSON number to be exact; write it as a string of digits`,
      }
    }
  }
  if (typeof value === 'bigint' && value >= 0n && value <= MAX_ID) return { id: compact(value) }
  if (typeof value === 'string' && /^\d{1,20}$/.test(value) && BigInt(value) <= MAX_ID)
    return { id: compact(BigInt(value)) }
  const help = typeof value === 'string' ? ' (ids are integers here; pass --id-type string for strings)' : ''
  return { problem: `the id is ${describe(value)}, not a whole number from 0 to 2^64 - 2${help}` }
}

/** A number where it is exact, else the bigint: what the engine's own results look like. */
function compact(value: bigint): RowId {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function describe(value: unknown): string {
  return value === undefined ? 'missing' : brief(value)
}

export interface IdOptions {
  readonly idType: IdType | undefined
  readonly idField: string | undefined
  readonly signal: AbortSignal | undefined
}

/** Ids from a file, taken a batch at a time. */
export class IdFile {
  readonly rule: IdRule
  readonly #name: string
  readonly #values: AsyncGenerator<RowId, void, undefined>
  #taken = 0

  constructor(path: string, options: IdOptions) {
    this.rule = new IdRule(options.idType)
    this.#name = sourceName(path)
    this.#values = path.endsWith('.npy')
      ? npyIds(path, this.rule, options)
      : lineIds(path, this.rule, options)
  }

  /** The next `count` ids; an error if there are fewer. */
  async take(count: number): Promise<RowId[]> {
    const ids: RowId[] = []
    while (ids.length < count) {
      const { value, done } = await this.#values.next()
      if (done === true) {
        throw inputError(
          `${this.#name} has ${this.#taken} ids, but there are more vectors`,
          'give one id for each vector',
        )
      }
      ids.push(value)
      this.#taken++
    }
    return ids
  }

  /** An error if there are ids left over. */
  async finish(): Promise<void> {
    const { done } = await this.#values.next()
    if (done !== true) {
      throw inputError(
        `${this.#name} has more than the ${this.#taken} ids needed`,
        'give one id for each vector',
      )
    }
  }
}

async function* npyIds(
  path: string,
  rule: IdRule,
  { signal }: IdOptions,
): AsyncGenerator<RowId, void, undefined> {
  const npy = await openNpy(await openSource(path, signal), 'integers')
  if (npy.shape.length !== 1) {
    throw inputError(
      `${path} has the shape (${npy.shape.join(', ')}); ids need one dimension`,
      'save it as ids.ravel()',
    )
  }
  let row = 0
  for await (const values of elements(npy, 1, 65_536)) {
    for (const value of values) {
      const accepted = rule.accept(value)
      if ('problem' in accepted) throw rowError(npy.source.name, 'row', row, accepted.problem)
      yield accepted.id
      row++
    }
  }
}

/** Whether a file of ids is one of JSON lines. */
export function isJsonIds(path: string): boolean {
  return /\.(jsonl|ndjson)$/i.test(path)
}

/** A JSON value a line (a string, a number, or an object with the id in a field), or bare text for other names. */
async function* lineIds(
  path: string,
  rule: IdRule,
  { idField = 'id', signal }: IdOptions,
): AsyncGenerator<RowId, void, undefined> {
  const json = isJsonIds(path)
  const source = await openSource(path, signal)
  for await (const { number, text } of textLines(source)) {
    let value: unknown = /^\d+$/.test(text) && rule.type !== 'string' && !json ? BigInt(text) : text
    if (json) {
      try {
        value = JSON.parse(text)
      } catch (error) {
        const problem = `not valid JSON: ${(error as Error).message}`
        throw rowError(source.name, 'line', number, problem, 'write one JSON value a line')
      }
      if (typeof value === 'object' && value !== null) {
        const fields = value as Record<string, unknown>
        if (!Object.hasOwn(fields, idField)) {
          const problem = `has no field ${JSON.stringify(idField)}`
          throw rowError(source.name, 'line', number, problem, 'pass --id-field for another one')
        }
        value = fields[idField]
      }
    }
    const accepted = rule.accept(value)
    if ('problem' in accepted) throw rowError(source.name, 'line', number, accepted.problem)
    yield accepted.id
  }
}
