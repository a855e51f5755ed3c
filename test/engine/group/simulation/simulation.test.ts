import { describe, test } from 'vitest'
import { testSeed } from '../../../../engine/base/random.ts'
import { type Protocols, runSchedule } from './run.ts'

/** Schedules of each kind; `MILLRACE_SCHEDULES` sets another number. */
const SCHEDULES = Number(process.env['MILLRACE_SCHEDULES'] ?? 1_000)

describe.each<Protocols>(['classic', 'consumer', 'both'])('random schedules, %s', protocols => {
  test('no partition has two owners, no offset goes back, every rebalance ends', { timeout: 600_000 }, () => {
    const first = testSeed()
    for (let at = 0; at < SCHEDULES; at++) {
      const seed = (first + at) >>> 0
      try {
        runSchedule(seed, protocols)
      } catch (error) {
        throw new Error(`MILLRACE_SEED=${seed}`, { cause: error })
      }
    }
  })
})
