/**
 * What a benchmark case is, and what it gets to run with. A case measures a value and, in the same run, the physical
 * bound beside it; the runner forms the ratio and prints it next to the bar. Main thread.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Scratch } from '../limits/scratch.ts'
import { runRounds } from './rounds.ts'
import { type RoundTimes, ratePerSecond, type Side } from './side.ts'

/** Per second where more is better; 'us' (microseconds) and 'bytes' where less is. */
export type Unit = 'records/s' | 'bytes/s' | 'acks/s' | 'lookups/s' | 'us' | 'bytes'

export interface Spread {
  readonly low: number
  readonly high: number
}

export interface CaseResult {
  /** Median over the rounds, in the case's unit. */
  readonly value: number
  /** The bound, in the same unit, measured in the same run. */
  readonly limit: number
  readonly valueSpread?: Spread
  readonly limitSpread?: Spread
  /** One line below the table. */
  readonly note?: string
}

export interface BenchCase {
  /** `group/what`, unique. */
  readonly name: string
  readonly unit: Unit
  /** The bound in a few words, for the table. */
  readonly limitName: string
  /** The least ratio that is called good; absent where there is no demand. Missing it never fails a run. */
  readonly bar?: number
  run(context: BenchContext): Promise<CaseResult>
}

/** Lower values are better for these units, so there the ratio is limit ÷ value. */
export const isCost = (unit: Unit): boolean => unit === 'us' || unit === 'bytes'

/** 1 means that the value reached the bound; less, that it stayed behind. */
export function ratioOf(unit: Unit, result: CaseResult): number {
  return isCost(unit) ? result.limit / result.value : result.value / result.limit
}

/** Shared by the cases of a run: where to put files, how many rounds, and the one prefaulted mapping of the limits. */
export class BenchContext {
  readonly directory: string
  readonly rounds: number
  readonly #log: (line: string) => void
  #scratch: Scratch | undefined
  #directories = 0
  #cleanups: (() => void | Promise<void>)[] = []

  /** @param directory an existing folder, on the file system that is to be measured; the caller removes it */
  constructor(directory: string, rounds: number, log: (line: string) => void = () => {}) {
    this.directory = directory
    this.rounds = rounds
    this.#log = log
  }

  /** The mapping that every limit writes to and reads from; made and prefaulted at first use. */
  get scratch(): Scratch {
    this.#scratch ??= new Scratch(this.directory)
    return this.#scratch
  }

  /** A new, empty folder, removed when the case is over. */
  freshDirectory(name: string): string {
    const path = join(this.directory, `${name}-${this.#directories++}`)
    mkdirSync(path)
    this.defer(() => rmSync(path, { recursive: true, force: true }))
    return path
  }

  /** Done when the case is over, whether it failed or not; the last thing deferred comes first. */
  defer(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup)
  }

  /** The case is over. @throws the first error of a cleanup, after all of them */
  async endCase(): Promise<void> {
    const errors: unknown[] = []
    for (let cleanup = this.#cleanups.pop(); cleanup !== undefined; cleanup = this.#cleanups.pop()) {
      try {
        await cleanup()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  /** A line of progress for a reader who waits. */
  log(line: string): void {
    this.#log(line)
  }

  /** Runs engine and limit in turn; both sides' work is in the unit of the case. */
  async compareRates(engine: Side, limit: Side, note?: string): Promise<CaseResult> {
    return toResult(await runRounds({ limit, engine }, this.rounds), ratePerSecond, note)
  }

  /** The same for latencies; rounds give milliseconds, the result is in microseconds. */
  async compareLatencies(engine: Side, limit: Side, note?: string): Promise<CaseResult> {
    return toResult(await runRounds({ limit, engine }, this.rounds), times => times.medianMs * 1000, note)
  }

  close(): void {
    this.#scratch?.close()
    this.#scratch = undefined
  }
}

function toResult(
  times: { engine: RoundTimes; limit: RoundTimes },
  convert: (times: RoundTimes) => number,
  note: string | undefined,
): CaseResult {
  return {
    value: convert(times.engine),
    limit: convert(times.limit),
    valueSpread: spreadOf(times.engine, convert),
    limitSpread: spreadOf(times.limit, convert),
    ...(note === undefined ? {} : { note }),
  }
}

function spreadOf(times: RoundTimes, convert: (times: RoundTimes) => number): Spread {
  const ends = [times.slowestMs, times.fastestMs].map(medianMs => convert({ ...times, medianMs }))
  return { low: Math.min(...ends), high: Math.max(...ends) }
}
