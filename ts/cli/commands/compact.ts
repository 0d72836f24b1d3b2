/**
 * `chassis compact`: builds an index anew from its records, in a new file that takes the place of the old one.
 */
import { VectorIndex } from '../../index.js'
import type { Command } from '../command.js'
import { bytes, grouped, plural } from '../format.js'

export const compact: Command = {
  name: 'compact',
  summary: 'give back the space of deleted records and build the graph anew',
  usage: 'INDEX [options]',
  positionals: [{ name: 'INDEX' }],
  options: {},
  notes: [
    'Takes the time of a build and, until it ends, the disk space of a second file. Readers go on with the old file until they refresh or reopen.',
    'Interrupted, the index is the old file or the new one; a hidden file that SIGKILL leaves behind is removed by the next compaction.',
  ],
  examples: ['chassis compact docs.chassis', 'chassis compact docs.chassis --json'],

  async run({ args, output, signal }) {
    const path = args.positional(0)
    const threads = args.integer('threads', 1, 1024)
    const index = await VectorIndex.open(path, { create: 'never', signal })
    const progress = output.progress('compacting', 'records')
    try {
      const onProgress = (done: number, total: number): void => progress.update(done, done / total)
      const report = await index.compact({ threads, onProgress, signal })
      progress.clear()
      const { records, removed, bytesBefore, bytesAfter } = report
      const sentence = `${path}: ${plural(records, 'record')}, ${grouped(removed)} deleted ones removed, ${bytes(bytesBefore)} before, ${bytes(bytesAfter)} now`
      await output.result({ path, ...report }, () => (output.quiet ? [] : [sentence]))
    } finally {
      progress.clear()
      await index.close()
    }
  },
}
