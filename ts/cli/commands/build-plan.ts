/**
 * What `chassis build` has been asked for: its options, checked and in one place.
 */
import type { IdType, Metric, Quantization } from '../../index.js'
import type { Args } from '../args.js'
import { CliError, Exit } from '../errors.js'
import { READER_DEFAULTS, type ReaderOptions } from '../readers/index.js'
import { BadRows, type BadVectorPolicy, FORMATS } from '../readers/reader.js'
import { sourceName } from '../readers/source.js'

export interface Plan {
  readonly input: string
  readonly target: string
  readonly append: boolean
  readonly force: boolean
  readonly dimensions: number | undefined
  readonly metric: Metric | undefined
  readonly idType: IdType | undefined
  readonly threads: number | undefined
  /** Options that only a new index takes; an existing one must agree with those that are stated. */
  readonly stored: {
    readonly model: string | undefined
    readonly m: number | undefined
    readonly m0: number | undefined
    readonly efConstruction: number | undefined
    readonly quantization: Quantization | undefined
  }
  readonly bad: BadRows
  readonly reader: ReaderOptions
}

export function planOf(args: Args, signal: AbortSignal): Plan {
  const input = args.positional(0)
  const target = args.string('out')
  if (target === undefined) {
    throw new CliError(Exit.usage, 'ERR_CHASSIS_USAGE', 'no index to write is given', {
      hint: `pass -o: chassis build ${input} -o NAME.chassis`,
    })
  }
  if (args.flag('append') && args.flag('force')) throw args.conflict('append', 'force')
  if (args.has('payload-field') && args.has('payload-fields'))
    throw args.conflict('payload-field', 'payload-fields')
  const policy: BadVectorPolicy = args.choice('on-bad-vector', ['error', 'skip']) ?? 'error'
  const bad = new BadRows(
    policy,
    sourceName(input),
    'correct the row, or pass --on-bad-vector=skip to leave such rows out',
  )
  const dimensions = args.integer('dim', 1, 65_535)
  const idType = args.choice('id-type', ['integer', 'string'])
  return {
    input,
    target,
    append: args.flag('append'),
    force: args.flag('force'),
    dimensions,
    metric: args.choice('metric', ['cosine', 'l2', 'ip']),
    idType,
    threads: args.integer('threads', 1, 1024),
    stored: {
      model: args.string('model'),
      m: args.integer('m', 2, 64),
      m0: args.integer('m0', 4, 96),
      efConstruction: args.integer('ef-construction', 8, 4096),
      quantization: args.choice('quantization', ['auto', 'none', '8bit', '4bit']),
    },
    bad,
    reader: {
      ...READER_DEFAULTS,
      format: args.choice('format', FORMATS),
      dimensions,
      idType,
      ids: args.string('ids'),
      idField: args.string('id-field'),
      vectorField: args.string('vector-field'),
      payloadField: args.string('payload-field'),
      payloadFields: args.string('payload-fields')?.split(','),
      bad,
      signal,
    },
  }
}
