/**
 * `chassis build`: makes an index from a file of vectors, or adds to one.
 *
 * A new index is built under a temporary name and put in place when it is complete; rows added to an existing one
 * are a single commit. So a signal at any moment leaves the old index or the new one.
 */
import { existsSync, realpathSync } from 'node:fs'

import { type IdType, type Stats, VectorIndex } from '../../index.js'
import type { Command, Context } from '../command.js'
import { CliError, Exit, inputError } from '../errors.js'
import { bytes, plural } from '../format.js'
import {
  checkTarget,
  lockReplaced,
  publish,
  removeLeftovers,
  removeTemporary,
  temporaryPath,
} from '../publish.js'
import { openReader } from '../readers/index.js'
import { FORMATS, type Reader } from '../readers/reader.js'
import { sourceName } from '../readers/source.js'
import { type Plan, planOf } from './build-plan.js'
import { addAll, type Sink } from './build-rows.js'

export const build: Command = {
  name: 'build',
  summary: 'make an index from a file of vectors, or add to one',
  usage: 'INPUT -o INDEX [options]',
  positionals: [{ name: 'INPUT' }],
  options: {
    out: { type: 'string', short: 'o', value: 'INDEX', help: 'the index to write' },
    force: { type: 'boolean', help: 'replace an index that is there' },
    append: { type: 'boolean', help: 'add to an index that is there' },
    metric: { type: 'string', value: 'NAME', help: 'cosine (default), l2 or ip' },
    dim: {
      type: 'string',
      value: 'N',
      help: 'numbers per vector; needed for bare floats, checked for the rest',
    },
    model: {
      type: 'string',
      value: 'TEXT',
      help: 'the embedding model, kept in the index and compared by --append',
    },
    'id-type': { type: 'string', value: 'TYPE', help: 'integer or string (default: as the first id is)' },
    'id-field': { type: 'string', value: 'NAME', help: 'jsonl: the field with the id (default: id)' },
    'vector-field': {
      type: 'string',
      value: 'NAME',
      help: 'jsonl: the field with the vector (default: vector)',
    },
    'payload-field': { type: 'string', value: 'NAME', help: 'jsonl: one field to keep (default: payload)' },
    'payload-fields': {
      type: 'string',
      value: 'A,B,…',
      help: 'jsonl: fields to keep as an object; * for all others',
    },
    ids: {
      type: 'string',
      value: 'FILE',
      help: 'one id a row: .npy of integers, .jsonl, or text (not for jsonl input)',
    },
    format: {
      type: 'string',
      value: 'NAME',
      help: `${FORMATS.join(', ')} (default: by the name of the file)`,
    },
    'on-bad-vector': {
      type: 'string',
      value: 'WHAT',
      help: 'error (default) or skip, for vectors that cannot be stored',
    },
    m: { type: 'string', value: 'N', help: 'links of a node on each layer (default: 16)' },
    m0: {
      type: 'string',
      value: 'N',
      help: 'links of a node on layer 0 (default: 3 m below 256 dimensions, else 2 m)',
    },
    'ef-construction': { type: 'string', value: 'N', help: 'candidates held while linking (default: 128)' },
    quantization: { type: 'string', value: 'NAME', help: 'auto (default), none, 8bit or 4bit' },
  },
  notes: [
    'INPUT is a file, or - for jsonl on standard input. A line of jsonl is an object with an id, a vector and a payload, or a bare array of numbers; rows without ids get the numbers 0, 1, 2 and so on.',
    'npy files hold 16-, 32- or 64-bit floats in C order; 64-bit values are rounded to the nearest 32-bit float.',
  ],
  examples: [
    'chassis build docs.jsonl -o docs.chassis --model text-embedding-3-small',
    'chassis build vectors.npy --ids ids.txt -o docs.chassis --metric ip',
    'chassis build base.fvecs -o base.chassis --metric l2 --force',
    'cat new.jsonl | chassis build - -o docs.chassis --append',
  ],

  async run(context) {
    const { args } = context
    const plan = planOf(args, context.signal)
    const reader = await openReader(plan.input, plan.reader)
    if (
      plan.dimensions !== undefined &&
      reader.dimensions !== undefined &&
      reader.dimensions !== plan.dimensions
    ) {
      throw wrongDimensions(plan.input, reader.dimensions, `--dim is ${plan.dimensions}`)
    }
    const outcome = plan.append ? await appendTo(context, plan, reader) : await makeNew(context, plan, reader)
    await report(context, plan, outcome)
  },
}

interface Outcome {
  readonly stats: Stats
  readonly added: number
}

/** Adds to an index that is there, in one transaction. */
async function appendTo(context: Context, plan: Plan, reader: Reader): Promise<Outcome> {
  const { signal } = context
  const { metric, idType, stored, dimensions } = plan
  const index = await VectorIndex.open<IdType>(plan.target, {
    create: 'never',
    metric,
    idType,
    dimensions,
    ...stored,
    signal,
  })
  try {
    if (reader.dimensions !== undefined && reader.dimensions !== index.dimensions) {
      throw wrongDimensions(plan.input, reader.dimensions, `${plan.target} has ${index.dimensions}`)
    }
    const sink: Sink = {
      metric: index.metric,
      open: async (rows) => {
        if (rows.dimensions === index.dimensions) return index
        throw wrongDimensions(plan.input, rows.dimensions, `${plan.target} has ${index.dimensions}`)
      },
    }
    const added = await addAll(context, reader, sink, plan)
    await index.commit({ signal })
    return { stats: await index.stats(), added }
  } finally {
    await index.close()
  }
}

/** Builds a new index beside the target and puts it in place. */
async function makeNew(context: Context, plan: Plan, reader: Reader): Promise<Outcome> {
  checkTarget(plan.target, plan.force)
  // A link stays a link: the file it leads to is the one replaced.
  const target = existsSync(plan.target) ? realpathSync(plan.target) : plan.target
  const replaced = plan.force ? await lockReplaced(target) : undefined
  removeLeftovers(target)
  const temporary = temporaryPath(target)
  const forget = context.onKill(() => removeTemporary(temporary))
  let index: VectorIndex<IdType> | undefined
  try {
    const create = async (dimensions: number, idType: IdType | undefined) =>
      (index ??= await VectorIndex.open<IdType>(temporary, {
        create: 'new',
        dimensions,
        metric: plan.metric,
        idType: idType ?? plan.idType,
        ...plan.stored,
      }))
    const sink: Sink = {
      metric: plan.metric ?? 'cosine',
      open: (rows) => create(rows.dimensions, reader.idType),
    }
    const added = await addAll(context, reader, sink, plan)
    const whole = index ?? (await create(emptyDimensions(plan, reader), undefined))
    await whole.commit({ signal: context.signal })
    const stats = await whole.stats()
    await whole.close()
    await replaced?.close()
    context.signal.throwIfAborted()
    publish(temporary, target, plan.force)
    return { stats, added }
  } finally {
    await index?.close()
    await replaced?.close()
    removeTemporary(temporary)
    forget()
  }
}

/** The dimensions of an index that gets no rows. */
function emptyDimensions(plan: Plan, reader: Reader): number {
  const dimensions = plan.dimensions ?? reader.dimensions
  if (dimensions !== undefined) return dimensions
  throw inputError(
    `${sourceName(plan.input)} has no rows${plan.bad.count > 0 ? ' that can be stored' : ''}`,
    'pass --dim N if an empty index is wanted',
  )
}

function wrongDimensions(input: string, found: number, expected: string): CliError {
  const message = `${sourceName(input)} has vectors of ${found} dimensions, but ${expected}`
  return new CliError(Exit.incompatible, 'ERR_CHASSIS_DIMENSION_MISMATCH', message, {
    hint: 'was another embedding model used?',
  })
}

async function report({ output }: Context, plan: Plan, { stats, added }: Outcome): Promise<void> {
  const { bad, target } = plan
  if (bad.count > 0) {
    output.warn(`${bad.describe()} left out, among them:`)
    for (const { where, reason } of bad.named.slice(0, 5)) output.note(`  ${where}: ${reason}`)
  }
  const { count, dimensions, metric, idType, m, m0, efConstruction, quantization, model, fileBytes, commit } =
    stats
  const data = {
    count,
    dimensions,
    metric,
    idType,
    m,
    m0,
    efConstruction,
    quantization,
    model,
    fileBytes,
    commit,
  }
  const result = { path: target, added, skipped: bad.count, skippedRows: bad.named, ...data }
  // The result is the file; the sentence about it is for people, who may have asked for quiet.
  await output.result(result, () => (output.quiet ? [] : [sentence(plan, { stats, added })]))
}

function sentence({ target, append }: Plan, { stats, added }: Outcome): string {
  const { count, dimensions, metric, fileBytes } = stats
  const now = `${plural(count, 'vector')}, ${plural(dimensions, 'dimension')}, ${metric}, ${bytes(fileBytes)}`
  return `${target}: ${append ? `${plural(added, 'vector')} added, now ` : ''}${now}`
}
