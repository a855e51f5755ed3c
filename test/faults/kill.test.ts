/** `kill -9` at random moments: of start, recovery, appending and closing, again and again in the same directory. */
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import { CrashChain, type CrashRound } from './support/crash-chain.ts'
import { randomRounds } from './support/kill-rounds.ts'

/** Rounds of this file; those at failpoints are in `kill-failpoints.test.ts`. */
const ROUNDS = randomRounds()
const ROUNDS_PER_DIRECTORY = Math.min(10, Math.ceil(ROUNDS / 2))

const seed = testSeed()

function randomRound(random: Random): CrashRound {
  const kind = random.below(10)
  if (kind < 5) return { countedFrom: 'ready', killAfterMs: random.below(250) }
  // A start takes some 300 ms, of which the last part is recovery.
  if (kind < 8) return { countedFrom: 'start', killAfterMs: random.between(100, 500) }
  const closeAfterMs = random.below(100)
  return { countedFrom: 'ready', closeAfterMs, killAfterMs: kind === 8 ? 10_000 : closeAfterMs + random.below(200) }
}

describe(`kill -9 in ${ROUNDS} rounds`, () => {
  const directories = Math.ceil(ROUNDS / ROUNDS_PER_DIRECTORY)
  test.for(Array.from({ length: directories }, (_, i) => i))('directory %i', { timeout: 120_000 }, async index => {
    const random = new Random(seed + index)
    const chain = new CrashChain(random)
    const rounds = Math.min(ROUNDS_PER_DIRECTORY, ROUNDS - index * ROUNDS_PER_DIRECTORY)
    for (let round = 0; round < rounds; round++) {
      // On a slow machine none of the others may come to append anything.
      const appending: CrashRound = { countedFrom: 'acknowledged', killAfterMs: random.below(250) }
      await chain.round(round === 0 ? appending : randomRound(random))
      if (random.chance(0.5) || round === rounds - 1) await chain.verify()
    }
    expect(chain.acknowledged).toBeGreaterThan(0)
  })
})
