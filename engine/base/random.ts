/**
 * Seeded random numbers (xoshiro128**, Blackman and Vigna 2018): the same seed gives the same run, so a failing random
 * test is repeated by its printed seed. Not for secrets.
 */
export class Random {
  readonly seed: number
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    // splitmix32 spreads a small seed over the state; an all-zero state would stay zero for ever.
    let z = this.seed
    const next = (): number => {
      z = (z + 0x9e37_79b9) | 0
      let t = z ^ (z >>> 16)
      t = Math.imul(t, 0x21f0_aaad)
      t ^= t >>> 15
      t = Math.imul(t, 0x735a_2d97)
      return t ^ (t >>> 15)
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    this.#d = next() | 1
  }

  /** A whole number, 0 to 2^32 - 1. */
  u32(): number {
    const m = Math.imul(this.#b, 5)
    const result = Math.imul((m << 7) | (m >>> 25), 9)
    const t = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= t
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result >>> 0
  }

  /** A whole number in `[0, end)`. */
  below(end: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * end)
  }

  /** A whole number in `[low, high]`. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 0x1_0000_0000
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length)
    for (let i = 0; i < length; i++) out[i] = this.u32()
    return out
  }
}

/** A seed from the environment variable `MILLRACE_SEED`, else from the clock. Print it with every failure. */
export function testSeed(): number {
  const given = Number(process.env['MILLRACE_SEED'])
  return Number.isInteger(given) && given > 0 ? given : Date.now() >>> 0
}
