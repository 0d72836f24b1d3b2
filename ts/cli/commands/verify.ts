/**
 * `chassis verify`: looks for damage and says which kind it is. Opens the file for reading only and changes nothing.
 */
import { type CheckLevel, type CheckProblem, VectorIndex } from '../../index.js'
import type { Command } from '../command.js'
import { Exit, type ExitCode, toCliError } from '../errors.js'
import { plural } from '../format.js'

/** In one word what the file is; with the exit code it is all a workflow needs. */
type Status = 'ok' | 'corrupt' | 'truncated' | 'newer-format' | 'not-an-index'

/** Refusals to open that are findings here, not failures of the command. */
const FINDINGS: Record<string, Status> = {
  ERR_CHASSIS_CORRUPT: 'corrupt',
  ERR_CHASSIS_TRUNCATED: 'truncated',
  ERR_CHASSIS_UNSUPPORTED_VERSION: 'newer-format',
  ERR_CHASSIS_NOT_A_DATABASE: 'not-an-index',
}

const WORDS: Record<Status, string> = {
  ok: 'ok',
  corrupt: 'damaged',
  truncated: 'cut short',
  'newer-format': 'written in a newer format',
  'not-an-index': 'not a Chassis index',
}

/** Problems printed for people; JSON has them all. */
const SHOWN = 20

interface Finding {
  readonly status: Status
  readonly exit: ExitCode
  readonly problems: readonly CheckProblem[]
  readonly hint?: string | undefined
  /** What was looked at, for people. */
  readonly summary: string
  readonly facts: Record<string, unknown>
}

export const verify: Command = {
  name: 'verify',
  summary: 'look for damage',
  usage: 'INDEX [options]',
  positionals: [{ name: 'INDEX' }],
  options: {
    quick: { type: 'boolean', help: 'header, commit records and tables only: milliseconds' },
    deep: { type: 'boolean', help: 'also ids, records, codes and the graph: every record must be reachable' },
  },
  notes: [
    'Without --quick or --deep every checksum is verified, which reads the whole file once.',
    'Ends with 0 when nothing is wrong, 5 when the file is damaged or cut short, and 6 when it is in a newer format or not an index at all; the JSON field "status" tells these apart.',
  ],
  examples: ['chassis verify docs.chassis', 'chassis verify --deep --json docs.chassis'],

  async run({ args, output, signal }) {
    if (args.flag('quick') && args.flag('deep')) throw args.conflict('quick', 'deep')
    const level: CheckLevel = args.flag('quick') ? 'meta' : args.flag('deep') ? 'full' : 'pages'
    const path = args.positional(0)
    const { status, exit, problems, hint, summary, facts } = await examine(path, level, signal)
    const ok = status === 'ok'
    await output.result({ path, ok, status, level, exit, ...facts, problems, hint: hint ?? null }, () => [
      ok ? `${path}: ok (${summary})` : `${path}: ${WORDS[status]}`,
      ...problems.slice(0, SHOWN).map(({ code, where, message }) => `  ${where}: ${message} [${code}]`),
      ...(problems.length > SHOWN ? [`  and ${plural(problems.length - SHOWN, 'more problem')}`] : []),
      ...(hint === undefined ? [] : [`  hint: ${hint}`]),
    ])
    return exit
  },
}

async function examine(path: string, level: CheckLevel, signal: AbortSignal): Promise<Finding> {
  try {
    return await check(path, level, signal)
  } catch (error) {
    const failure = toCliError(error)
    const status = FINDINGS[failure.code]
    if (status === undefined) throw failure
    const problem = { code: failure.code, where: 'file', message: failure.message }
    return { status, exit: failure.exit, problems: [problem], hint: failure.hint, summary: '', facts: {} }
  }
}

async function check(path: string, level: CheckLevel, signal: AbortSignal): Promise<Finding> {
  const index = await VectorIndex.open(path, { readOnly: true, signal })
  try {
    const { ok, problems, nodes, blocks } = await index.check({ level, signal })
    const { count, commit, recoveredPreviousCommit } = await index.stats({ signal })
    const summary = [
      plural(count, 'vector'),
      `commit ${commit}`,
      ...(level === 'meta' ? [] : [`${plural(blocks, 'block')} checked`]),
      ...(level === 'full' ? [`${plural(nodes, 'node')} checked`] : []),
      ...(recoveredPreviousCommit ? ['the newest commit could not be read: this is the one before it'] : []),
    ].join(', ')
    return {
      status: ok ? 'ok' : 'corrupt',
      exit: ok ? Exit.ok : Exit.corrupt,
      problems,
      hint: ok ? undefined : 'rebuild it from the source data',
      summary,
      facts: { count, commit, nodes, blocks, recoveredPreviousCommit },
    }
  } finally {
    await index.close()
  }
}
