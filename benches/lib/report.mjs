/** Puts the measurements into words: the machine, the tables on the screen, the JSON. */
import os from 'node:os'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { atRecall } from './curve.mjs'

export const RECALLS = [0.9, 0.95, 0.99]
const SUBJECT = 'chassis'

/** The machine a result was measured on. */
export function describeMachine() {
  const cpus = os.cpus()
  return {
    cpu: cpus[0]?.model.trim(),
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    os: `${os.platform()} ${os.release()} ${os.arch()}`,
    node: process.versions.node,
    loadAverage: os.loadavg().map((load) => Number(load.toFixed(2))),
  }
}

/** The commit of this checkout, marked when files differ from it. */
export function describeCommit() {
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const git = (...args) => spawnSync('git', args, { cwd, encoding: 'utf8' }).stdout?.trim() ?? ''
  const commit = git('rev-parse', 'HEAD')
  return commit && git('status', '--porcelain') ? `${commit} and uncommitted changes` : commit || null
}

/** Adds QPS at each recall to the engines, and the ratios of Chassis to each peer. */
export function summarize(engines) {
  for (const engine of engines) {
    engine.atRecall = Object.fromEntries(
      RECALLS.map((recall) => {
        const cpu = atRecall(engine.curve, recall)
        const wall = atRecall(engine.curve, recall, (point) => point.wallQps)
        return [recall, cpu && { ...cpu, wallQps: wall.qps }]
      }),
    )
  }
  const subject = engines.find((engine) => engine.engine === SUBJECT)
  if (!subject) return {}
  const peers = engines.filter((engine) => engine !== subject)
  const ratio = (a, b) => (a && b ? a / b : null)
  return Object.fromEntries(
    peers.map((peer) => [
      peer.engine,
      {
        qps: Object.fromEntries(
          RECALLS.map((recall) => [recall, ratio(subject.atRecall[recall]?.qps, peer.atRecall[recall]?.qps)]),
        ),
        buildCpu: ratio(subject.build?.cpuSeconds, peer.build?.cpuSeconds),
        fileBytes: ratio(subject.build?.fileBytes, peer.build?.fileBytes),
        openAndFirstResult: ratio(
          subject.open && subject.open.openMs + subject.open.firstResultMs,
          peer.open && peer.open.openMs + peer.open.firstResultMs,
        ),
      },
    ]),
  )
}

function table(head, rows) {
  const cells = [head, ...rows].map((row) => row.map((cell) => String(cell ?? '-')))
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column].length)))
  const line = (row) =>
    row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ')
  return [
    line(cells[0]),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...cells.slice(1).map(line),
  ].join('\n')
}

const fixed = (value, digits = 1) => (value === null || value === undefined ? null : value.toFixed(digits))
const speed = (point) => point && `${point.floor ? '>' : ''}${Math.round(point.qps)}`

/** The tables for people. */
export function render({ set, k, m, efConstruction, engines, ratios }) {
  const title =
    `${set.name}: ${set.rows} x ${set.dimensions}, ${set.metric}, ${set.queries} queries, ` +
    `k=${k}, m=${m}, efConstruction=${efConstruction}`
  const parts = [title]
  const head = ['engine', 'version', 'build CPU s', 'wall s', 'peak MB', 'file MB', 'open ms', 'first ms']
  parts.push(
    table(
      head,
      engines.map(({ engine, version, build, open }) => [
        engine,
        version,
        fixed(build?.cpuSeconds),
        fixed(build?.wallSeconds),
        fixed(build && build.peakBytesOverInput / 1e6, 0),
        fixed(build && build.fileBytes / 1e6),
        fixed(open?.openMs, 2),
        fixed(open?.firstResultMs, 2),
      ]),
    ),
  )
  const withCurves = engines.filter(({ curve }) => curve.length)
  if (withCurves.length) {
    parts.push(renderSpeeds(withCurves, ratios), renderCurves(withCurves, k))
  }
  return parts.join('\n\n') + '\n'
}

function renderSpeeds(engines, ratios) {
  const head = [
    'engine',
    ...RECALLS.map((recall) => `QPS at ${recall}`),
    ...RECALLS.map((recall) => `${SUBJECT} x`),
  ]
  const rows = engines.map(({ engine, atRecall: points }) => [
    engine,
    ...RECALLS.map((recall) => speed(points[recall])),
    ...RECALLS.map((recall) => fixed(ratios[engine]?.qps[recall], 2)),
  ])
  return (
    table(head, rows) +
    '\n(queries per CPU second, one call a query; > : the cheapest setting is above that recall)'
  )
}

function renderCurves(engines, k) {
  const efs = [...new Set(engines.flatMap(({ curve }) => curve.map((point) => point.ef)))].sort(
    (a, b) => a - b,
  )
  const head = ['ef', ...engines.flatMap(({ engine }) => [`${engine} recall@${k}`, 'QPS', 'p99 us'])]
  const rows = efs.map((ef) => [
    ef,
    ...engines.flatMap(({ curve }) => {
      const point = curve.find((candidate) => candidate.ef === ef)
      return [fixed(point?.recall, 4), fixed(point?.qps, 0), fixed(point?.p99Us, 0)]
    }),
  ])
  return table(head, rows)
}
