/**
 * Numbers and tables as text. The same value always gives the same text, on every machine and locale.
 */

/** Characters of a value that a message repeats. */
const BRIEF = 60

/**
 * The shortest decimal that reads back as the same 32-bit float: 0.3 and not 0.30000001192092896, which is what
 * JavaScript shows once the float has become a 64-bit number.
 */
export function shortFloat(value: number): number {
  if (!Number.isFinite(value) || Math.fround(value) !== value) return value
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return Number(value.toPrecision(9))
}

/** A distance or similarity in a table: six decimals, so that columns line up. */
export function fixed(value: number): string {
  const text = value.toFixed(6)
  return text === '-0.000000' ? '0.000000' : text
}

/** `1234567` as `1,234,567`. */
export function grouped(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

/** A size in binary units with three significant digits: `15.3 MiB`. */
export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let scaled = value
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024
    unit++
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2
  return `${scaled.toFixed(digits)} ${units[unit]}`
}

/** A duration for people: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${pad2(Math.floor(seconds % 60))} s`
  return `${Math.floor(minutes / 60)} h ${pad2(minutes % 60)} min`
}

function pad2(value: number): string {
  return String(value).padStart(2, '0')
}

/** `1 row`, `2 rows`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`
}

/** A value as JSON, for messages: no longer than what is needed to find it. */
export function brief(value: unknown): string {
  const text = JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))
  return text.length <= BRIEF ? text : `${text.slice(0, BRIEF - 1)}…`
}

/** Rows of cells as lines with aligned columns; a column whose every cell looks like a number is aligned right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const columns = header.map((title, column) => {
    const cells = rows.map((row) => row[column] ?? '')
    return {
      width: Math.max(title.length, ...cells.map((cell) => cell.length)),
      right: cells.length > 0 && cells.every((cell) => /^-?[\d,.]+$/.test(cell)),
    }
  })
  const line = (cells: readonly string[]) =>
    columns
      .map(({ width, right }, i) =>
        right ? (cells[i] ?? '').padStart(width) : (cells[i] ?? '').padEnd(width),
      )
      .join('  ')
      .trimEnd()
  return [line(header), ...rows.map(line)]
}

/** Name and value, one pair a line, the values in one column. */
export function pairs(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([name]) => name.length))
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd())
}

/** The word closest to `word`, if it is close enough to be a slip of the finger. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const ranked = words
    .map((candidate) => ({ candidate, edits: editDistance(word, candidate) }))
    .sort((a, b) => a.edits - b.edits)
  const best = ranked[0]
  return best !== undefined && best.edits <= Math.max(1, Math.floor(word.length / 3))
    ? best.candidate
    : undefined
}

/** Insertions, deletions, replacements and swaps of neighbors that lead from one word to the other. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = []
  const at = (i: number, j: number) => rows[i]?.[j] ?? Number.POSITIVE_INFINITY
  for (let i = 0; i <= a.length; i++) {
    rows.push([])
    for (let j = 0; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      rows[i]![j] =
        i === 0 || j === 0
          ? i + j
          : Math.min(
              at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
              at(i - 1, j) + 1,
              at(i, j - 1) + 1,
              swapped ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY,
            )
    }
  }
  return at(a.length, b.length)
}
