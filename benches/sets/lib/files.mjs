/**
 * Files of a set in the making. What stands under its own name is whole: everything is written beside its place
 * and renamed, so that a run that was stopped leaves nothing half made to be taken for the set.
 *
 * Rows are NAME.f32bin, bare little-endian float32, with NAME.meta.json beside it, as `benches/lib/sets.mjs` reads
 * them. NAME ends in .base or .query for the parts of a finished set.
 */
import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'

// A write of more than 2 GiB is cut short by the system; parts of this size stay far from that.
const CHUNK = 1 << 28

/** The whole file at once, under its name only when complete. */
export function writeFile(file, content) {
  const bytes = typeof content === 'string' ? Buffer.from(content) : viewBytes(content)
  const part = `${file}.part`
  const fd = fs.openSync(part, 'w')
  try {
    for (let at = 0; at < bytes.length;) at += fs.writeSync(fd, bytes, at, Math.min(CHUNK, bytes.length - at))
  } finally {
    fs.closeSync(fd)
  }
  fs.renameSync(part, file)
}

function viewBytes(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

/** Hexadecimal SHA-256 of a file. */
export function sha256(file) {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(1 << 24)
  const fd = fs.openSync(file, 'r')
  try {
    for (let read; (read = fs.readSync(fd, buffer)) > 0;) hash.update(buffer.subarray(0, read))
  } finally {
    fs.closeSync(fd)
  }
  return hash.digest('hex')
}

/** Writes rows and, last, what is known about them. */
export function writeRows(directory, name, values, dimensions, about) {
  const file = path.join(directory, `${name}.f32bin`)
  writeFile(file, values)
  const meta = {
    name,
    rows: values.length / dimensions,
    dim: dimensions,
    dtype: 'float32le',
    ...about,
    sha256: sha256(file),
  }
  writeFile(path.join(directory, `${name}.meta.json`), JSON.stringify(meta, null, 1) + '\n')
}

/** All rows of NAME.f32bin. */
export function readRows(directory, name) {
  const meta = JSON.parse(fs.readFileSync(path.join(directory, `${name}.meta.json`), 'utf8'))
  const bytes = fs.readFileSync(path.join(directory, `${name}.f32bin`))
  if (bytes.length !== meta.rows * meta.dim * 4)
    throw new Error(`${name}.f32bin has ${bytes.length} bytes, not ${meta.rows} rows of ${meta.dim} float32`)
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  return { values, rows: meta.rows, dimensions: meta.dim }
}

/** Values spread evenly over a file of float32, to compare files whose last bits depend on the processor. */
export function sampleValues(file, count) {
  const floats = fs.statSync(file).size / 4
  const value = Buffer.alloc(4)
  const fd = fs.openSync(file, 'r')
  try {
    return Array.from({ length: count }, (_, i) => {
      fs.readSync(fd, value, 0, 4, 4 * Math.floor(((i + 0.5) * floats) / count))
      return value.readFloatLE()
    })
  } finally {
    fs.closeSync(fd)
  }
}
