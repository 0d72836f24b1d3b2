/**
 * Step 3: vectors to one file. Adds them in one call and commits; after that no crash loses them.
 */
import { rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

// In a project of yours: import { VectorIndex } from '@chassis/core'
import { VectorIndex } from '../../dist/index.mjs'
import { readCache } from './embed.mjs'
import { DIMENSIONS, MODEL } from './model.mjs'
import { detail, number, size, step, time } from './ui.mjs'

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), 'wordnet.chassis')

const { records, vectors } = readCache()
rmSync(file, { force: true })
const index = await VectorIndex.open(file, { dimensions: DIMENSIONS, metric: 'cosine', model: MODEL })

const started = performance.now()
await index.addBatch(vectors, {
  ids: records.map((record) => record.id),
  payloads: records.map(({ words, subject, text }) => ({ words, subject, text })),
})
const added = performance.now()
const commit = await index.commit()
const committed = performance.now()

const { count, fileBytes, kernel } = await index.stats()
await index.close()
step(
  3,
  'Build',
  `${path.basename(file)}: ${number(count)} vectors, ${size(fileBytes)}, process ${process.pid}`,
)
detail(
  `linked in ${time(added - started)}, commit ${commit} durable in ${time(committed - added)}, kernel ${kernel}`,
)
