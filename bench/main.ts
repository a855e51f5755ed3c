/**
 * `npm run bench`: the engine's cases beside the physical bounds and its peers, as a table and, with `-- --json FILE`, as an
 * array of `{ case, value, unit, limit, ratio }`. Slowness never fails a run: the exit code is 1 only when a case broke
 * and 2 when the command line is wrong. Main thread.
 */
import type { BenchCase } from './harness/case.ts'
import { benchMain } from './harness/cli.ts'

/** The engine is loaded only when it is measured: `--limits` says what a machine can do without it. */
async function loadCases({ limits }: { limits: boolean }): Promise<BenchCase[]> {
  if (limits) return (await import('./limits/all.ts')).limitCases
  const [{ engineCases }, { peerCases }] = await Promise.all([import('./cases/all.ts'), import('./peers/all.ts')])
  return [...engineCases, ...peerCases]
}

process.exitCode = await benchMain(process.argv.slice(2), loadCases)
