/**
 * `chassis query`: searches by a vector, by a stored record, or by a file of queries. Opens the index for reading
 * only.
 */
import { type IdType, type Include, type SearchResult, VectorIndex } from '../../index.js'
import type { Args } from '../args.js'
import type { Command, Context } from '../command.js'
import { CliError, Exit, usageError } from '../errors.js'
import { FORMATS } from '../readers/reader.js'
import { OUTPUT_FORMATS, type OutputFormat, printResults } from './query-output.js'
import { type QueryBatch, queriesFrom, type Source } from './query-source.js'

export const query: Command = {
  name: 'query',
  summary: 'search by a vector, by a stored record, or by a file of queries',
  usage: 'INDEX [options]',
  positionals: [{ name: 'INDEX' }],
  options: {
    vector: { type: 'string', value: 'JSON', help: "the query as a JSON array: '[0.1, 0.2, …]'" },
    id: {
      type: 'string',
      value: 'ID',
      help: 'search for what is near a stored record (which is itself among the results)',
    },
    file: {
      type: 'string',
      value: 'FILE',
      help: 'a file with one query: a JSON array, or an object with a vector',
    },
    queries: {
      type: 'string',
      value: 'FILE',
      help: 'a file of many queries, or - for jsonl on standard input',
    },
    format: {
      type: 'string',
      value: 'NAME',
      help: `format of --queries: ${FORMATS.join(', ')} (default: by its name)`,
    },
    'vector-field': { type: 'string', value: 'NAME', help: 'the field with the vector (default: vector)' },
    'id-field': { type: 'string', value: 'NAME', help: 'jsonl: the field that names a query (default: id)' },
    k: { type: 'string', short: 'k', value: 'N', help: 'results wanted (default: 10)' },
    'ef-search': {
      type: 'string',
      value: 'N',
      help: 'candidates held: more finds more and takes longer (default: 64)',
    },
    recall: {
      type: 'string',
      value: 'R',
      help: 'in place of --ef-search: the share of the true nearest to find, 0.5 to 0.999',
    },
    exact: { type: 'boolean', help: 'compare with every record instead of walking the graph' },
    radius: { type: 'string', value: 'D', help: 'only results at this distance or nearer' },
    model: { type: 'string', value: 'TEXT', help: 'refuse an index made with another model' },
    'with-payload': { type: 'boolean', help: 'also print payloads' },
    'with-vector': { type: 'boolean', help: 'also print vectors' },
    output: {
      type: 'string',
      value: 'NAME',
      help: 'text (default), tsv, jsonl (a row a line) or json (a query a line)',
    },
  },
  notes: [
    'Without a query the vector is read from standard input. --json is the same as --output json.',
    'distance is smaller and similarity larger for what is closer: for cosine 1 - cos and cos, for l2 the Euclidean distance d and 1 / (1 + d), for ip -dot and dot.',
  ],
  examples: [
    "chassis query docs.chassis --vector '[0.1, 0.2, 0.3]' -k 5",
    'chassis query docs.chassis --id 42 --with-payload',
    'chassis query docs.chassis --queries queries.npy --json > results.jsonl',
    'embed "a red bicycle" | chassis query docs.chassis',
  ],

  async run(context) {
    const { args, signal } = context
    const source = sourceOf(args)
    const include: Include[] = []
    if (args.flag('with-payload')) include.push('payload')
    if (args.flag('with-vector')) include.push('vector')
    const search = {
      k: args.integer('k', 0, 1 << 20),
      efSearch: args.integer('ef-search', 1, 1 << 20),
      recall: args.number('recall'),
      exact: args.flag('exact'),
      radius: args.number('radius'),
      threads: args.integer('threads', 1, 1024),
      include,
    }
    const format = formatOf(args)
    const path = args.positional(0)
    const index = await VectorIndex.open<IdType>(path, {
      readOnly: true,
      model: args.string('model'),
      signal,
    })
    try {
      let first = true
      for await (const batch of queriesFrom(source, index, signal)) {
        signal.throwIfAborted()
        checkDimensions(batch, index, path)
        const found = await index.searchBatch(batch.vectors, { ...search, signal })
        await print(context, format, batch, found, {
          many: source.kind === 'queries',
          first,
          k: search.k ?? 10,
        })
        first = false
        if (context.output.closed) break
      }
    } finally {
      await index.close()
    }
  },
}

/** Where the queries come from; exactly one place. */
function sourceOf(args: Args): Source {
  const stated = ['vector', 'id', 'file', 'queries'].filter((name) => args.has(name))
  if (stated.length > 1) throw args.conflict(stated[0]!, stated[1]!)
  const fields = {
    idField: args.string('id-field'),
    vectorField: args.string('vector-field'),
  }
  const format = args.choice('format', FORMATS)
  const value = stated[0] === undefined ? undefined : args.string(stated[0])
  if (value !== undefined) return { kind: stated[0] as Source['kind'], value, format, ...fields }
  if (process.stdin.isTTY) {
    throw usageError(
      'no query is given',
      "pass --vector '[…]', --id, --file or --queries, or write the vector to standard input",
    )
  }
  return { kind: 'file', value: '-', format, ...fields }
}

function formatOf(args: Args): OutputFormat {
  const stated = args.choice('output', OUTPUT_FORMATS)
  if (!args.flag('json')) return stated ?? 'text'
  if (stated !== undefined && stated !== 'json') throw args.conflict('json', 'output')
  return 'json'
}

function checkDimensions({ dimensions, name }: QueryBatch, index: VectorIndex<IdType>, path: string): void {
  if (dimensions === index.dimensions) return
  const message = `${name} has ${dimensions} dimensions, but ${path} has ${index.dimensions}`
  throw new CliError(Exit.incompatible, 'ERR_CHASSIS_DIMENSION_MISMATCH', message, {
    hint: 'embed the query with the model that embedded the records (`chassis stats` shows it)',
  })
}

async function print(
  { output }: Context,
  format: OutputFormat,
  batch: QueryBatch,
  found: readonly SearchResult<IdType, Include>[],
  options: { many: boolean; first: boolean; k: number },
): Promise<void> {
  const results = found.map((result, i) => ({ query: batch.names[i]!, result }))
  await printResults(output, format, results, options)
}
