/**
 * Reads benchmark sets: NAME.base.f32bin, NAME.query.f32bin (bare little-endian float32 rows, each with a
 * .meta.json beside it) and NAME.gt.ivecs (the exact neighbors of each query in the base, nearest first).
 */
import fs from 'node:fs'
import path from 'node:path'

const CHUNK = 1 << 28

function readBytes(file, length = fs.statSync(file).size) {
  const bytes = new Uint8Array(new ArrayBuffer(length))
  const fd = fs.openSync(file, 'r')
  try {
    let offset = 0
    while (offset < length) {
      const read = fs.readSync(fd, bytes, offset, Math.min(CHUNK, length - offset), offset)
      if (read === 0) throw new Error(`${file} has ${offset} bytes, expected ${length}`)
      offset += read
    }
  } finally {
    fs.closeSync(fd)
  }
  return bytes
}

function readMeta(directory, name) {
  const meta = JSON.parse(fs.readFileSync(path.join(directory, `${name}.meta.json`), 'utf8'))
  if (!Number.isInteger(meta.rows) || !Number.isInteger(meta.dim))
    throw new Error(`${name}.meta.json has no rows or dim`)
  return meta
}

function readRows(directory, name, rows, dimensions) {
  return new Float32Array(readBytes(path.join(directory, `${name}.f32bin`), rows * dimensions * 4).buffer)
}

/** What a set is, without its vectors. `limit` takes only the first rows of the base. */
export function describeSet(directory, name, limit) {
  const base = readMeta(directory, `${name}.base`)
  const query = readMeta(directory, `${name}.query`)
  if (base.dim !== query.dim)
    throw new Error(`${name}: base has ${base.dim} dimensions, queries ${query.dim}`)
  const rows = Math.min(limit ?? base.rows, base.rows)
  const metric = base.metric ?? 'cosine'
  return {
    directory,
    name,
    rows,
    allRows: base.rows,
    queries: query.rows,
    dimensions: base.dim,
    metric,
    sha256: base.sha256,
  }
}

/** The rows of the base that `set` describes, back to back. */
export function readBase(set) {
  return readRows(set.directory, `${set.name}.base`, set.rows, set.dimensions)
}

/** The queries, one Float32Array each. */
export function readQueries(set) {
  const all = readRows(set.directory, `${set.name}.query`, set.queries, set.dimensions)
  return Array.from({ length: set.queries }, (_, i) =>
    all.slice(i * set.dimensions, (i + 1) * set.dimensions),
  )
}

function readIvecs(file, queries) {
  const all = new Int32Array(readBytes(file).buffer)
  const width = all[0]
  if (all.length !== queries * (width + 1))
    throw new Error(`${file} does not hold ${queries} lists of ${width}`)
  return Array.from({ length: queries }, (_, i) => all.subarray(i * (width + 1) + 1, (i + 1) * (width + 1)))
}

/**
 * The exact `k` nearest rows of each query. A set cut short has other neighbors than the whole one: they are
 * computed here once and kept in `cache`.
 */
export function readTruth(set, k, cache) {
  if (set.rows === set.allRows) {
    const truth = readIvecs(path.join(set.directory, `${set.name}.gt.ivecs`), set.queries)
    if (truth[0].length < k)
      throw new Error(`${set.name}.gt.ivecs holds ${truth[0].length} neighbors, not ${k}`)
    return truth.map((list) => list.subarray(0, k))
  }
  const file = path.join(cache, `${set.name}-${set.rows}-k${k}.gt.ivecs`)
  if (!fs.existsSync(file)) {
    const lists = exactNeighbors(readBase(set), readQueries(set), set, k)
    const out = new Int32Array(lists.flatMap((list) => [k, ...list]))
    fs.mkdirSync(cache, { recursive: true })
    fs.writeFileSync(file, new Uint8Array(out.buffer))
  }
  return readIvecs(file, set.queries)
}

/** Brute force in double precision; equal distances go to the lower row. */
function exactNeighbors(base, queries, { rows, dimensions, metric }, k) {
  const scale = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    let norm2 = 0
    for (let d = 0; d < dimensions; d++) norm2 += base[row * dimensions + d] ** 2
    scale[row] = metric === 'cosine' ? 1 / Math.sqrt(norm2 || 1) : norm2 / 2
  }
  return queries.map((query) => {
    const nearest = []
    for (let row = 0; row < rows; row++) {
      let dot = 0
      for (let d = 0, o = row * dimensions; d < dimensions; d++, o++) dot += query[d] * base[o]
      const distance = metric === 'cosine' ? -dot * scale[row] : metric === 'l2' ? scale[row] - dot : -dot
      if (nearest.length === k && distance >= nearest[k - 1].distance) continue
      let at = nearest.length
      while (at > 0 && nearest[at - 1].distance > distance) at--
      nearest.splice(at, 0, { distance, row })
      if (nearest.length > k) nearest.pop()
    }
    return nearest.map(({ row }) => row)
  })
}
