/** Arithmetic on measured curves: medians, and the speed at a recall that lies between two measured points. */

/** The middle value; the mean of the two middle ones for an even count. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

/**
 * Speed at a recall. Between two points of the curve log(speed) is taken as linear in log(1 - recall).
 *
 * A curve that starts above the recall gives its first point, marked `floor`: the engine has no setting that is
 * cheaper. One that ends below it gives null.
 */
export function atRecall(points, recall, speed = (point) => point.qps) {
  const first = points[0]
  if (!first) return null
  if (first.recall >= recall) return { qps: speed(first), ef: first.ef, floor: true }
  // A perfect recall has no logarithm: it stands for half a miss less than can be counted.
  const miss = (point) => Math.log(Math.max(1 - point.recall, 1e-5))
  for (let i = 1; i < points.length; i++) {
    const [low, high] = [points[i - 1], points[i]]
    if (high.recall < recall) continue
    const share = (Math.log(1 - recall) - miss(low)) / (miss(high) - miss(low))
    const between = (a, b) => Math.exp(Math.log(a) + share * (Math.log(b) - Math.log(a)))
    return { qps: between(speed(low), speed(high)), ef: between(low.ef, high.ef), floor: false }
  }
  return null
}
