import { describe, test } from 'vitest'
import { testSeed } from '../../../../engine/base/random.ts'
import { type Protocols, runSchedule } from './run.ts'

/** Schedules of each kind; `npm run test:faults` runs 10^5 in all, `MILLRACE_SCHEDULES` sets another number. */
const SCHEDULES = Number(
  process.env['MILLRACE_SCHEDULES'] ?? (process.env['MILLRACE_FAULTS'] === 'all' ? 34_000 : 1_000),
)

/** @throws with the seed, and with a stack from a second run */
function runOne(seed: number, protocols: Protocols, stackTraceLimit: number): void {
  try {
    runSchedule(seed, protocols)
  } catch (failure) {
    Error.stackTraceLimit = stackTraceLimit
    let cause = failure
    try {
      runSchedule(seed, protocols)
    } catch (again) {
      cause = again
    }
    throw new Error(`MILLRACE_SEED=${seed}`, { cause })
  }
}

describe.each<Protocols>(['classic', 'consumer', 'both'])('random schedules, %s', protocols => {
  test('no partition has two owners, no offset goes back, every rebalance ends', { timeout: 600_000 }, () => {
    const first = testSeed()
    // Refusals are errors inside the coordinator, and their stacks a good part of the time.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      for (let at = 0; at < SCHEDULES; at++) runOne((first + at) >>> 0, protocols, stackTraceLimit)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  })
})
