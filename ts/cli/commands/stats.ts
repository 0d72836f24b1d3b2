/**
 * `chassis stats`: what an index is and how large it is. Opens it for reading only.
 */
import { VectorIndex } from '../../index.js'
import type { Stats } from '../../index.js'
import type { Command } from '../command.js'
import { bytes, grouped, pairs } from '../format.js'

export const stats: Command = {
  name: 'stats',
  summary: 'show what an index is and how large it is',
  usage: 'INDEX [options]',
  positionals: [{ name: 'INDEX' }],
  options: {},
  examples: ['chassis stats docs.chassis', 'chassis stats docs.chassis --json'],

  async run({ args, output, signal }) {
    const path = args.positional(0)
    const index = await VectorIndex.open(path, { readOnly: true, signal })
    const facts = await index.stats({ signal })
    await index.close()
    await output.result({ path, ...facts }, () =>
      pairs([
        ['path', path],
        ['vectors', grouped(facts.count)],
        ['deleted', grouped(facts.deleted)],
        ['dimensions', String(facts.dimensions)],
        ['metric', facts.metric],
        ['id type', facts.idType],
        ['model', facts.model === '' ? '-' : facts.model],
        ['graph', `m ${facts.m}, m0 ${facts.m0}, efConstruction ${facts.efConstruction}`],
        ['quantization', facts.quantization],
        ['codes', codes(facts)],
        ['drift', facts.codes === undefined ? '-' : facts.codes.drift.toFixed(2)],
        ['recall', recall(facts)],
        ['user version', String(facts.userVersion)],
        ['commit', String(facts.commit)],
        ['file', `${bytes(facts.fileBytes)} (${grouped(facts.fileBytes)} bytes)`],
        ['reclaimable', bytes(facts.reclaimableBytes)],
        ['mapped', bytes(facts.mappedBytes)],
        ['heap', bytes(facts.heapBytes)],
        ['kernel', facts.kernel],
        ...(facts.recoveredPreviousCommit
          ? [['note', 'the newest commit could not be read; this is the one before it'] as const]
          : []),
      ]),
    )
  },
}

function codes({ codes }: Stats): string {
  if (codes === undefined) return '-'
  const { kinds, components, projects, indexRows } = codes
  const width = projects ? ` (${components} components)` : ''
  return `${kinds.join(', ')}${width}, fitted at ${grouped(indexRows)} vectors`
}

function recall({ recall }: Stats): string {
  if (recall === undefined) return '-'
  return `up to ${recall.highest}, fitted at ${grouped(recall.fittedRows)} vectors`
}
