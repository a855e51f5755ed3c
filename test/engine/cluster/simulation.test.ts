/** Schedules of one partition's replication: nothing that was committed is ever lost, and all logs become one. */
import { expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { ReplicationRun } from './simulation.ts'

/** `MILLRACE_SCHEDULES` sets another number. */
const SCHEDULES = Number(
  process.env['MILLRACE_SCHEDULES'] ?? (process.env['MILLRACE_FAULTS'] === 'all' ? 50_000 : 1_500),
)
const STEPS = 250

test('what was committed stays, whoever leads', { timeout: 900_000 }, () => {
  const first = testSeed()
  const sums = { committed: 0, elections: 0, powerLosses: 0, truncations: 0, shrinks: 0, expansions: 0 }
  for (let at = 0; at < SCHEDULES; at++) {
    const seed = (first + at) >>> 0
    const run = new ReplicationRun(new Random(seed))
    try {
      for (let step = 0; step < STEPS; step++) run.step()
      run.comeToRest()
    } catch (cause) {
      throw new Error(`MILLRACE_SEED=${seed}`, { cause })
    }
    sums.committed += run.committed
    for (const [name, count] of Object.entries(run.counts)) sums[name as keyof typeof run.counts] += count
  }
  // Schedules in which little happens would prove little.
  for (const [name, count] of Object.entries(sums)) expect(count / SCHEDULES, name).toBeGreaterThan(0.25)
})
