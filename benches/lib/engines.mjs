/**
 * The engines that can be compared, and how each is found.
 *
 * An adapter has: `load()` the module; `build(library, job, vectors)` to complete files in `job.directory`;
 * `open(library, job)` an index in a fresh process; `prepare(query)` into the form the engine takes;
 * `setEf(index, ef, job, library)` giving the index to use from then on; `search(index, input, k)`, synchronous
 * and as a user would call it; `ids(result)` as numbers; `version()`, which names what was measured.
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

const adapters = {
  chassis: 'chassis',
  'hnswlib-node': 'hnswlib-node',
  usearch: 'usearch',
  '@zvec/zvec': 'zvec',
}

/** Names that `--engines` takes. */
export const engineNames = Object.keys(adapters)

/** The adapter of an engine. */
export async function adapterOf(engine) {
  const file = adapters[engine]
  if (!file) throw new Error(`unknown engine ${engine}; known: ${engineNames.join(', ')}`)
  return (await import(`../adapters/${file}.mjs`)).default
}

/** The version that a peer's own package.json states. */
export function packageVersion(name) {
  const places = require.resolve.paths(name).map((place) => `${place}/${name}/package.json`)
  const file = places.find((place) => fs.existsSync(place))
  if (!file) throw new Error(`${name} is not installed; run npm install in benches/`)
  return JSON.parse(fs.readFileSync(file, 'utf8')).version
}
