/**
 * Schedules of whole clusters in virtual time. The engine's cluster node, replicas, fetchers, the leader's side of a fetch and the writers' rules run as
 * they are; disks, threads, network and metadata store are models that do the worst that is allowed. A test of rules that are broken on purpose shows
 * that schedules notice.
 */
import { expect, test, vi } from 'vitest'
import { testSeed } from '../../../../engine/base/random.ts'
import { type RunResult, Schedule } from './run.ts'
import type { Mistakes } from './world.ts'

vi.mock('node:timers/promises', async () => {
  const { virtualTimers } = await import('./virtual-time.ts')
  return { ...virtualTimers, default: virtualTimers }
})
vi.mock('../../../../engine/memory/libc.ts', async original => {
  const { virtualBootTimeMs } = await import('./virtual-time.ts')
  return { ...(await original<object>()), bootTimeMs: virtualBootTimeMs }
})
vi.mock('../../../../engine/broker/boot-id.ts', async () => {
  const { virtualBootId } = await import('./virtual-time.ts')
  return { bootId: virtualBootId }
})

const isFaultRun = process.env['MILLRACE_FAULTS'] === 'all'
/** Some 15 ms each. `MILLRACE_SCHEDULES` sets another number. */
const SCHEDULES = Number(process.env['MILLRACE_SCHEDULES'] ?? (isFaultRun ? 20_000 : 500))

/** Most refusals are errors whose stack nobody looks at. */
async function runOne(seed: number, mistakes: Mistakes): Promise<RunResult> {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return await new Schedule(seed, mistakes).run()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** @throws with the seed, and with what happened last and a stack from a second run */
async function demandSound(seed: number): Promise<RunResult> {
  try {
    return await runOne(seed, {})
  } catch (failure) {
    const again = new Schedule(seed, {}, true)
    const cause = await again.run().then(
      () => failure,
      (error: unknown) => error,
    )
    throw new Error(`MILLRACE_SEED=${seed}\n${again.world.trace.join('\n')}`, { cause })
  }
}

test('what was shown or acknowledged stays, and everything comes to rest', { timeout: 3_600_000 }, async () => {
  const first = testSeed()
  const sums: Record<string, number> = {}
  for (let at = 0; at < SCHEDULES; at++) {
    const { counts } = await demandSound((first + at) >>> 0)
    for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count
  }
  if (SCHEDULES < 500) return
  // Schedules in which little happens would prove little.
  const { unclean = 0, forgiven = 0, ...often } = sums
  for (const [name, count] of Object.entries(often)) expect(count / SCHEDULES, name).toBeGreaterThan(0.2)
  expect(unclean + forgiven).toBeGreaterThan(0)
})

/** Rules that are broken on purpose, and within how many schedules somebody notices; most within ten. */
const MISTAKES: { readonly what: string; readonly within: number; readonly mistakes: Mistakes }[] = [
  { what: 'partitions are changed whatever their version is', within: 100, mistakes: { unchecked: 'partitions/' } },
  { what: 'a log that parts from its leader is left as it is', within: 200, mistakes: { keepsDivergence: true } },
  { what: 'a leader acknowledges after its lease', within: 300, mistakes: { ignoresLease: true } },
  { what: 'a lease is longer for its holder than for the store', within: 300, mistakes: { leaseOverMs: 700 } },
  { what: 'somebody is elected who is not in sync', within: 100, mistakes: { electsAnybody: true } },
  { what: 'who lost records says nothing of it', within: 300, mistakes: { hidesLosses: true } },
]
if (isFaultRun) {
  // Somebody loses power, is registered again, and a change that lets in what was before is made after that.
  const mistakes: Mistakes = { unchecked: 'brokers/' }
  MISTAKES.push({ what: 'who comes is let in whatever its epoch is', within: 10_000, mistakes })
}

test.for(MISTAKES)('it is noticed that $what', { timeout: 600_000 }, async ({ within, mistakes }) => {
  const first = testSeed()
  const isSound = async (seed: number): Promise<boolean> =>
    runOne(seed >>> 0, mistakes).then(
      () => true,
      () => false,
    )
  let at = 0
  while (at < within && (await isSound(first + at))) at++
  expect(at, `MILLRACE_SEED=${first}`).toBeLessThan(within)
})
