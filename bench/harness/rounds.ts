/**
 * Runs the sides of a case round by round in turn (limit, engine, limit, engine, ...), so that a slow spell of the machine
 * meets both. Main thread. tinybench runs and times the passes: one pass is one round of each side, the first pass only
 * warms up (compiled code, page tables, open files) and is not counted.
 */
import { Bench } from 'tinybench'
import { median, type RoundTimes, type Side } from './side.ts'

export type Sides = Readonly<Record<string, Side>>

/**
 * Runs every side `rounds` times after one warm-up pass and closes them all.
 * @returns per side the median, fastest and slowest round
 * @throws what a round threw; the sides are closed then as well
 */
export async function runRounds<S extends Sides>(sides: S, rounds: number): Promise<{ [K in keyof S]: RoundTimes }> {
  const entries = Object.entries(sides)
  try {
    const passes = await runPasses(entries, rounds)
    const results = entries.map(([name, side]) => [name, summarize(side.work, passes.get(name) ?? [])] as const)
    return Object.fromEntries(results) as { [K in keyof S]: RoundTimes }
  } finally {
    for (const [, side] of entries) await side.close?.()
  }
}

async function runPasses(entries: [string, Side][], rounds: number): Promise<Map<string, number[]>> {
  const bench = new Bench({ iterations: 1, time: 0, warmup: false, throws: true })
  for (const [name, side] of entries) {
    const beforeEach = async (): Promise<void> => {
      globalThis.gc?.() // garbage of the other side must not be collected on this side's clock
      await side.prepare?.()
    }
    bench.add(name, async () => ({ overriddenDuration: await side.round() }), { async: true, beforeEach })
  }
  const times = new Map<string, number[]>(entries.map(([name]) => [name, []]))
  for (let pass = 0; pass <= rounds; pass++) {
    bench.reset()
    await bench.run()
    if (pass === 0) continue
    for (const { name, result } of bench.tasks) {
      if ('latency' in result) times.get(name)?.push(result.latency.p50)
    }
  }
  return times
}

function summarize(work: number, ms: readonly number[]): RoundTimes {
  return { work, medianMs: median(ms), fastestMs: Math.min(...ms), slowestMs: Math.max(...ms) }
}
