/**
 * Runs the thread programs of this folder. A program reads `workerData`, posts one report and ends; what it throws,
 * and an end without a report, fails the test.
 */
import { type MessagePort, Worker } from 'node:worker_threads'
import type { TestContext } from 'vitest'

/** Of what `npm run test:faults` runs between threads, `npm test` runs this share. */
export const SHARE = process.env['MILLRACE_FAULTS'] === 'all' ? 1 : 0.2

/**
 * Starts `program` (a file name of this folder) once for each item of `data` and gives the reports in that order. When one
 * fails, or reports a `fault`, the others are ended: they may wait for it.
 * @param ports handed over, one to each thread
 */
export async function runThreads<Report>(
  program: string,
  data: readonly unknown[],
  ports: readonly MessagePort[] = [],
): Promise<Report[]> {
  const workers: Worker[] = []
  const stop = (): void => {
    for (const worker of workers) void worker.terminate()
  }
  const runs = data.map((item, index) => {
    const transferList = ports.slice(index, index + 1)
    const options = { workerData: item, execArgv: [], transferList }
    const worker = new Worker(new URL(`./${program}`, import.meta.url), options)
    workers.push(worker)
    return reportOf<Report>(worker, program)
  })
  try {
    return await Promise.all(runs)
  } catch (error) {
    stop()
    await Promise.allSettled(runs)
    throw error
  }
}

function reportOf<Report>(worker: Worker, program: string): Promise<Report> {
  return new Promise((resolve, reject) => {
    let report: { value: Report } | undefined
    worker.once('message', (value: Report) => {
      report = { value }
      const { fault } = value as { fault?: unknown }
      if (fault !== undefined) reject(new Error(`${program}: ${String(fault)}`))
    })
    worker.once('error', reject)
    worker.once('exit', code => {
      if (report === undefined) reject(new Error(`${program} ended with code ${code} and without a report`))
      else resolve(report.value)
    })
  })
}

/** One thread of `program`. */
export async function runThread<Report>(program: string, data: unknown): Promise<Report> {
  return (await runThreads<Report>(program, [data]))[0] as Report
}

/** A short stretch of work that the compiler keeps: about 2 ns a turn. */
export function spin(turns: number): number {
  let x = turns | 0
  for (let i = 0; i < turns; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0
  return x
}

/** For `beforeEach`: a test that fails says how to run it again. */
export function printSeed(seed: number): (context: TestContext) => void {
  return ({ onTestFailed }) => onTestFailed(() => console.log(`MILLRACE_SEED=${seed}`))
}
