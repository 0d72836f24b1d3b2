/**
 * Help as text, made from what the commands declare.
 */
import { COMMON, type OptionSpecs } from './args.js'
import type { Command } from './command.js'
import { pairs } from './format.js'

/** Help of the program: the list of commands. */
export function programHelp(commands: readonly { name: string; summary: string }[]): string {
  return [
    'chassis: vector search in one file',
    '',
    'usage: chassis COMMAND [options]',
    '',
    ...indent(pairs(commands.map(({ name, summary }) => [name, summary]))),
    '',
    'Data goes to stdout, progress to stderr; --json gives both data and errors as JSON.',
    '`chassis COMMAND --help` shows the options of a command, `chassis --version` the version.',
    '',
    'exit codes: 0 ok, 1 gate failed or differences, 2 usage, 3 bad input data, 4 not found,',
    '            5 corrupt or truncated, 6 incompatible, 7 locked, 8 I/O, 70 internal, 130 interrupted',
  ].join('\n')
}

/** Help of one command. */
export function commandHelp(command: Command): string {
  const lines = [
    `chassis ${command.name}: ${command.summary}`,
    '',
    `usage: chassis ${command.name} ${command.usage}`,
  ]
  lines.push('', 'options:', ...indent(pairs([...rows(command.options), ...rows(COMMON)])))
  for (const note of command.notes ?? []) lines.push('', ...wrap(note, 100))
  lines.push('', 'examples:', ...indent(command.examples))
  return lines.join('\n')
}

function rows(options: OptionSpecs): [string, string][] {
  return Object.entries(options).map(([name, { short, value, help }]) => [
    `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
    help,
  ])
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`)
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  return [...lines, line]
}
