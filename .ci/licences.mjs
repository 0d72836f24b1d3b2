/** Checks the licence of every Rust dependency against `deny.toml`, where cargo-deny is not installed. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const text = readFileSync(new URL('../deny.toml', import.meta.url), 'utf8')
const allowed = new Set(
  /\nallow = \[([^\]]*)\]/
    .exec(text)[1]
    .match(/"[^"]+"/g)
    .map((name) => name.slice(1, -1)),
)

/** An SPDX expression without parentheses around WITH: one allowed choice of OR, all parts of AND. */
function accepted(expression) {
  const flat = expression.replaceAll('/', ' OR ').replaceAll(/[()]/g, ' ')
  if (/\bAND\b/.test(flat)) {
    const parts = expression.split(/\bAND\b/)
    return parts.every((part) => accepted(part))
  }
  return flat.split(/\bOR\b/).some((name) => allowed.has(name.trim()))
}

const options = { encoding: 'utf8', maxBuffer: 1 << 28 }
const metadata = JSON.parse(execFileSync('cargo', ['metadata', '--format-version', '1', '--locked'], options))
const refused = metadata.packages.filter((p) => !p.license || !accepted(p.license))
for (const p of refused)
  console.error(`${p.name} ${p.version}: licence ${p.license ?? 'not stated'} is not in deny.toml`)
const foreign = metadata.packages.filter((p) => p.source && !p.source.startsWith('registry+'))
for (const p of foreign) console.error(`${p.name} ${p.version}: comes from ${p.source}`)
console.log(`${metadata.packages.length} packages, ${refused.length + foreign.length} refused`)
process.exitCode = refused.length + foreign.length === 0 ? 0 : 1
