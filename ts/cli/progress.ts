/**
 * A progress bar on one line of a terminal, redrawn at most ten times a second.
 */
import { duration, grouped } from './format.js'

/** Between two drawings; faster flickers and costs time over a slow connection. */
const REDRAW_MS = 100
/** A rate over less time than this says nothing. */
const SETTLE_MS = 500

export interface ProgressOptions {
  readonly label: string
  readonly unit: string
  readonly shown: boolean
  readonly color: boolean
}

export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #options: ProgressOptions
  readonly #started = performance.now()
  #drawn = 0
  #visible = false

  constructor(stream: NodeJS.WriteStream, options: ProgressOptions) {
    this.#stream = stream
    this.#options = options
  }

  /** Time since the start, in milliseconds. */
  get elapsed(): number {
    return performance.now() - this.#started
  }

  /** `done` units are done. `fraction` (0 to 1) is how far that is, when it is known. */
  update(done: number, fraction?: number): void {
    const now = performance.now()
    if (!this.#options.shown || now - this.#drawn < REDRAW_MS) return
    this.#drawn = now
    this.#visible = true
    const columns = this.#stream.columns ?? 80
    this.#stream.write(`\r${barLine(this.#options, done, fraction, this.elapsed, columns)}\u001b[K`)
  }

  /** Takes the bar off the screen. */
  clear(): void {
    if (this.#visible) this.#stream.write('\r\u001b[K')
    this.#visible = false
  }
}

/** The line of a bar, no wider than the terminal. */
export function barLine(
  { label, unit, color }: Pick<ProgressOptions, 'label' | 'unit' | 'color'>,
  done: number,
  fraction: number | undefined,
  elapsed: number,
  columns: number,
): string {
  const settled = elapsed >= SETTLE_MS && done > 0
  const rate = settled ? `  ${grouped(Math.round((done / elapsed) * 1000))}/s` : ''
  const remaining =
    settled && fraction !== undefined && fraction > 0
      ? `  ${left((elapsed / fraction) * (1 - fraction))} left`
      : ''
  const percent = fraction === undefined ? '' : `${String(Math.floor(fraction * 100)).padStart(3)} %`
  const text = `  ${percent}  ${grouped(done)} ${unit}${rate}${remaining}`
  const room = Math.min(30, columns - label.length - text.length - 2)
  if (fraction === undefined || room < 8) return `${label}${text}`.slice(0, columns - 1)
  const full = Math.round(Math.min(1, fraction) * room)
  const bar = `${'█'.repeat(full)}${'░'.repeat(room - full)}`
  return `${label} ${color ? `\u001b[36m${bar}\u001b[0m` : bar}${text}`
}

/** Time left is a guess: whole seconds say all it knows. */
function left(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 60 ? `${seconds} s` : duration(seconds * 1000)
}
