/**
 * Chance that is the same on every machine: whatever a set draws, it draws from here with a seed of its own, so
 * that two people who make the set get the same bytes.
 */

/** Numbers in [0, 1) by mulberry32, which needs no more than 32-bit integers. */
export function uniform(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Normally distributed numbers (Box and Muller; the second of each pair is left unused). */
export function normal(seed) {
  const next = uniform(seed)
  return () => {
    const radius = Math.sqrt(-2 * Math.log(1 - next()))
    return radius * Math.cos(2 * Math.PI * next())
  }
}

/** The numbers 0 to `count` - 1 in a random order (Fisher and Yates, from the end). */
export function permutation(count, seed) {
  const next = uniform(seed)
  const order = Uint32Array.from({ length: count }, (_, i) => i)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(next() * (last + 1))
    const kept = order[last]
    order[last] = order[other]
    order[other] = kept
  }
  return order
}
