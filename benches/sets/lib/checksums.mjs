/** Whether a file is the one that the published figures were measured on. */
import fs from 'node:fs'
import path from 'node:path'
import { sampleValues, sha256 } from './files.mjs'

const CHECKSUMS = new URL('../checksums.json', import.meta.url)
// Sums in another order move a component of a unit row by about 1e-7, another model or text by 1e-2.
const TOLERANCE = 1e-5

/**
 * Whether a file has the bytes that checksums.json tells of; throws when it is another one. False when nothing is
 * known about it, or when it comes out of a BLAS, for which there is a sample of values, and differs as far as
 * rounding goes: `say` tells that.
 */
export function verify(directory, name, say) {
  const known = JSON.parse(fs.readFileSync(CHECKSUMS, 'utf8'))
  const wanted = known.sha256[name]
  const sample = known.samples[name]
  if (!wanted) return false
  const file = path.join(directory, name)
  const found = sha256(file)
  if (found === wanted) return true
  if (sample && isNear(file, sample)) {
    say(`${name}: not the bytes of the published runs, but the same rows up to rounding`)
    return false
  }
  throw new Error(
    `${name} has a wrong checksum: its SHA-256 is ${found}, not ${wanted}. ` +
      'If the file is from an earlier run, delete it and run again',
  )
}

function isNear(file, sample) {
  const values = sampleValues(file, sample.length)
  return values.every((value, i) => Math.abs(value - sample[i]) <= TOLERANCE)
}
