/**
 * `npm start`: three million real flights through the engine and back, see `job.ts`. Works in a fresh temporary folder that is
 * removed at the end; `-- --dir PATH` works in PATH and leaves the data there. Exit code 0 only if every check held.
 * Main thread.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Progress } from '../../client/cli/progress.ts'
import { Checks } from './checks.ts'
import { findDataset, readFlights } from './dataset.ts'
import { runJob } from './job.ts'
import { summary } from './summary.ts'
import { busiestAirports } from './table.ts'

/** The number of rows in the file, for a progress bar that starts before it is opened. */
const FLIGHTS = 3_000_000

async function main(directory: string): Promise<number> {
  const start = performance.now()
  const progress = new Progress('decoding ', FLIGHTS)
  const flights = await readFlights(findDataset(), count => progress.update(count))
  progress.finish()
  const checks = new Checks()
  const result = await runJob(directory, flights, checks)
  console.log(`\n${busiestAirports(flights.airports, result.consumed.totals).join('\n')}`)
  console.log(`\n${summary(result, performance.now() - start).join('\n')}`)
  console.log(`\n${checks.held} checks held, ${checks.failed} failed`)
  return checks.failed === 0 && checks.held > 0 ? 0 : 1
}

const { values } = parseArgs({ options: { dir: { type: 'string' } } })
if (values.dir === undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-flights-'))
  try {
    process.exitCode = await main(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
} else {
  mkdirSync(values.dir, { recursive: true })
  if (readdirSync(values.dir).length > 0) throw new Error(`${values.dir} is not empty`)
  process.exitCode = await main(values.dir)
  console.log(`the data is in ${values.dir}`)
}
