/** Images of clothes: Fashion-MNIST, with its own split into training images (the base) and test images (queries). */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { writeRows } from '../lib/files.mjs'
import { debianFile } from '../lib/packages.mjs'
import { QUERIES } from './split.mjs'

const PACKAGE = 'dataset-fashion-mnist'
const FOLDER = '/usr/share/datasets/fashion-mnist'
// An IDX file of images: magic number, images, rows and columns of each as big-endian 32-bit numbers, then pixels.
const MAGIC = 0x803
const HEADER_BYTES = 16

/** The pixels of one file as float32, 0 to 255. */
function readImages(part) {
  const packed = readFileSync(debianFile(PACKAGE, path.join(FOLDER, `${part}-images-idx3-ubyte.gz`)))
  const bytes = gunzipSync(packed)
  if (bytes.readUInt32BE(0) !== MAGIC) throw new Error(`the ${part} images of ${PACKAGE} are not an IDX file`)
  const count = bytes.readUInt32BE(4)
  const dimensions = bytes.readUInt32BE(8) * bytes.readUInt32BE(12)
  const pixels = bytes.subarray(HEADER_BYTES, HEADER_BYTES + count * dimensions)
  return { values: Float32Array.from(pixels), dimensions }
}

/** Writes the base and the queries of fashion784; of the 10,000 test images the first ones are enough. */
export function makeFashion({ out }) {
  const about = { source: `Fashion-MNIST (Debian ${PACKAGE}), pixels 0 to 255`, metric: 'l2' }
  const test = readImages('t10k')
  const queries = test.values.subarray(0, QUERIES * test.dimensions)
  writeRows(out, 'fashion784.query', queries, test.dimensions, about)
  const training = readImages('train')
  writeRows(out, 'fashion784.base', training.values, training.dimensions, about)
}
