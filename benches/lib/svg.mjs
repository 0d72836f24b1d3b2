/** Draws the curves of a result: recall to the right on a logarithmic scale of misses, speed upward. */

const WIDTH = 720
const HEIGHT = 420
const MARGIN = { left: 64, right: 130, top: 40, bottom: 48 }
const RECALLS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
const COLORS = ['#1f6feb', '#c2410c', '#0f766e', '#7c3aed']

/** An SVG picture of queries per CPU second against recall, one line an engine. */
export function draw({ set, k, m, efConstruction, engines, machine }) {
  const curves = engines
    .map(({ engine, curve }) => ({ engine, points: curve.filter(visible) }))
    .filter(({ points }) => points.length > 1)
  const speeds = curves.flatMap(({ points }) => points.map((point) => point.qps))
  const [low, high] = [Math.min(...speeds) / 1.2, Math.max(...speeds) * 1.2]
  const x = (recall) =>
    scale(-Math.log(1 - recall), -Math.log(0.2), -Math.log(0.002), MARGIN.left, WIDTH - MARGIN.right)
  const y = (qps) => scale(Math.log(qps), Math.log(low), Math.log(high), HEIGHT - MARGIN.bottom, MARGIN.top)
  const title = `${set.name}, ${set.rows} x ${set.dimensions}, ${set.metric}; m ${m}, efConstruction ${efConstruction}`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(MARGIN.left, 20, `${title} (${machine.cpu}, one core)`, 'start', '#111'),
    ...RECALLS.map((recall) => line(x(recall), MARGIN.top, x(recall), HEIGHT - MARGIN.bottom)),
    ...RECALLS.map((recall) => text(x(recall), HEIGHT - MARGIN.bottom + 16, recall, 'middle')),
    ...ticks(low, high).map((qps) => line(MARGIN.left, y(qps), WIDTH - MARGIN.right, y(qps))),
    ...ticks(low, high).map((qps) => text(MARGIN.left - 6, y(qps) + 4, qps.toLocaleString('en-US'), 'end')),
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 12, `recall@${k}`, 'middle'),
    text(MARGIN.left, MARGIN.top - 6, 'queries per CPU second', 'start'),
    ...curves.flatMap(({ engine, points }, i) => drawCurve(engine, points, COLORS[i % COLORS.length], x, y)),
    '</svg>\n',
  ].join('\n')
}

function visible({ recall }) {
  return recall >= 0.8 && recall <= 0.998
}

function drawCurve(engine, points, color, x, y) {
  const places = points.map((point) => `${x(point.recall).toFixed(1)},${y(point.qps).toFixed(1)}`)
  const last = points.at(-1)
  return [
    `<polyline points="${places.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
    ...places.map(
      (place) => `<circle cx="${place.split(',')[0]}" cy="${place.split(',')[1]}" r="2.5" fill="${color}"/>`,
    ),
    text(x(last.recall) + 8, y(last.qps) + 4, engine, 'start', color),
  ]
}

/** Round numbers from low to high: 1, 2 and 5 times powers of ten. */
function ticks(low, high) {
  const found = []
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    for (const step of [1, 2, 5]) if (step * power >= low && step * power <= high) found.push(step * power)
  }
  return found
}

function scale(value, from, to, low, high) {
  return low + ((value - from) / (to - from)) * (high - low)
}

function line(x1, y1, x2, y2) {
  return `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="#ddd"/>`
}

function text(x, y, words, anchor, color = '#555') {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${color}">${words}</text>`
}
