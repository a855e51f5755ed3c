/** Runs cases one after the other: a broken one is reported and the others still run. Main thread. */
import { type BenchCase, type BenchContext, type CaseResult, ratioOf } from './case.ts'
import { formatValue, type Row } from './report.ts'

export interface Outcome {
  readonly rows: Row[]
  /** Names of the cases that threw or measured no number. */
  readonly broken: string[]
}

/** @param log gets a line before and after each case, and the error of a broken one with its stack */
export async function runCases(
  cases: readonly BenchCase[],
  context: BenchContext,
  log: (line: string) => void,
): Promise<Outcome> {
  const outcome: Outcome = { rows: [], broken: [] }
  for (const benchCase of cases) {
    const start = performance.now()
    try {
      const result = await runCase(benchCase, context)
      const ratio = ratioOf(benchCase.unit, result)
      if (!Number.isFinite(ratio)) throw new Error(`measured ${result.value} against a limit of ${result.limit}`)
      outcome.rows.push({ benchCase, result })
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      log(`${benchCase.name}: ${formatValue(result.value, benchCase.unit)}, ratio ${ratio.toFixed(2)} (${seconds} s)`)
    } catch (error) {
      outcome.broken.push(benchCase.name)
      log(`${benchCase.name}: BROKEN: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
  }
  return outcome
}

async function runCase(benchCase: BenchCase, context: BenchContext): Promise<CaseResult> {
  try {
    return await benchCase.run(context)
  } finally {
    await context.endCase()
  }
}
