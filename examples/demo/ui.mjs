/**
 * How the demo speaks: colors and a bar on a terminal, plain lines in a pipe.
 */
const terminal = process.stdout.isTTY === true
const colored = terminal && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

const paint = (code) => (text) => (colored ? `\u001b[${code}m${text}\u001b[0m` : String(text))
export const bold = paint('1')
export const dim = paint('2')
export const cyan = paint('36')
export const green = paint('32')

/** Characters on a line, within reason. */
export const width = () => Math.min(Math.max(terminal ? (process.stdout.columns ?? 100) : 100, 60), 120)

export const say = (text = '') => process.stdout.write(`${text}\n`)

/** The head of a step: ` 2  Embed   2,400 texts …`. */
export const step = (number, name, text) => say(` ${cyan(number)}  ${bold(name.padEnd(7))} ${text}`)

/** What belongs to the step above. */
export const detail = (text) => say(`            ${text}`)

export const number = (value) => value.toLocaleString('en-US')

/** A duration with the digits that matter: `0.042 ms`, `7.1 ms`, `3.2 s`. */
export function time(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`
  return `${ms.toPrecision(ms < 1 ? 2 : ms < 100 ? 2 : 3)} ms`
}

export const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** Text cut to `columns`, marked where it was cut. */
export const cut = (text, columns) =>
  text.length <= columns ? text : `${text.slice(0, columns - 1).trimEnd()}…`

/** Calls of the function returned draw a bar (terminal) or a line per tenth (pipe). */
export function progress(total, unit) {
  const started = performance.now()
  let tenth = 0
  return (done) => {
    const elapsed = (performance.now() - started) / 1000
    const rate = done / Math.max(elapsed, 0.001)
    const text = `${number(done)} of ${number(total)} ${unit}, ${Math.round(rate)}/s`
    if (terminal) {
      const full = Math.round((done / total) * 30)
      const left = done < total && elapsed > 1 ? `, ${Math.ceil((total - done) / rate)} s left` : ''
      process.stdout.write(
        `\r            ${cyan('█'.repeat(full))}${dim('░'.repeat(30 - full))}  ${text}${left}\u001b[K`,
      )
      if (done >= total) process.stdout.write('\r\u001b[K')
    } else if (Math.floor((done / total) * 10) > tenth) {
      tenth = Math.floor((done / total) * 10)
      detail(text)
    }
  }
}
