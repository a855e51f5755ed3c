/**
 * One directory over many crashes: rounds of an appending process that is killed, and checks in between. Rounds follow each other
 * with and without a check, so that a crash also follows a recovery that nobody looked at, a truncation, or a clean close.
 */
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Random } from '../../../engine/base/random.ts'
import type { AppendPlan } from '../programs/appender.ts'
import { TOPICS } from '../programs/topics.ts'
import { readAckBook } from './ack-log.ts'
import { Checker } from './checker.ts'
import { Child } from './child.ts'
import { temporaryDirectory } from './surroundings.ts'
import { verifyDirectory } from './verify.ts'

export interface CrashRound {
  /** As `MILLRACE_FAILPOINTS`; the process is killed after `killAfterMs` if none of them acts. */
  readonly failpoints?: string
  /** Counted from the start of the process, from when it began to append, or from when records of every topic were acknowledged. */
  readonly countedFrom: 'start' | 'ready' | 'acknowledged'
  readonly killAfterMs: number
  /** The process closes the engine by itself after so many milliseconds of appending. */
  readonly closeAfterMs?: number
}

const ACKNOWLEDGED_MS = 20_000

/** How a round ended: by a failpoint, by the test's signal, or the process was done before. */
export type RoundEnd = 'failpoint' | 'killed' | 'closed'

export class CrashChain {
  readonly directory: string
  readonly #ackPath: string
  readonly #random: Random
  readonly #checker: Checker
  readonly #options: Partial<AppendPlan>
  readonly #history: string[] = []
  #run = 0

  constructor(random: Random, options: Partial<AppendPlan> = {}) {
    const folder = temporaryDirectory('kill')
    this.directory = join(folder, 'data')
    this.#ackPath = join(folder, 'acks')
    this.#random = random
    this.#checker = new Checker(random)
    this.#options = options
  }

  get acknowledged(): number {
    return readAckBook({ path: this.#ackPath }).acks.reduce((sum, { first, end }) => sum + end - first, 0)
  }

  async round(round: CrashRound): Promise<RoundEnd> {
    const { directory } = this
    const run = this.#run++
    const closing = round.closeAfterMs === undefined ? {} : { closeAfterMs: round.closeAfterMs }
    const plan = { directory, ackPath: this.#ackPath, run, seed: this.#random.u32(), ...this.#options, ...closing }
    const child = new Child('appender.ts', plan, round.failpoints === undefined ? {} : { failpoints: round.failpoints })
    if (round.countedFrom !== 'start') await Promise.race([child.line(/^ready$/).catch(() => undefined), child.ended])
    if (round.countedFrom === 'acknowledged') await this.#acknowledgedEverywhere(run, child)
    await Promise.race([child.ended, new Promise(resolve => setTimeout(resolve, round.killAfterMs))])
    const { code, signal, killed } = await child.kill()
    const end = code === 0 ? 'closed' : killed ? 'killed' : 'failpoint'
    this.#history.push(`${round.failpoints ?? round.countedFrom}+${Math.round(round.killAfterMs)}: ${end}`)
    const sound = code === 0 || (signal === 'SIGKILL' && (killed || round.failpoints !== undefined))
    const events = sound ? [] : readAckBook({ path: this.#ackPath }).events
    expect(sound, `ended with ${signal ?? code}; ${this.#context}\n${events.join('\n')}\n${child.output}`).toBe(true)
    return end
  }

  /** Waits until the run has records in each of its topics, at most `ACKNOWLEDGED_MS`, or until its process ends. */
  async #acknowledgedEverywhere(run: number, child: Child): Promise<void> {
    const latest = performance.now() + ACKNOWLEDGED_MS
    const missing = new Set(this.#options.topics ?? TOPICS.map(({ topic }) => topic))
    while (missing.size > 0 && !child.hasEnded) {
      expect(performance.now(), `no record of ${[...missing]} was acknowledged; ${this.#context}`).toBeLessThan(latest)
      await new Promise(resolve => setTimeout(resolve, 10))
      for (const { stream } of readAckBook({ path: this.#ackPath }).acks) {
        const [ofRun, , topic = ''] = stream.split('/')
        if (ofRun === String(run)) missing.delete(topic)
      }
    }
  }

  /** Opens the directory, which recovers it, checks everything, closes it, and checks its files. */
  async verify(): Promise<void> {
    const book = readAckBook({ path: this.#ackPath })
    expect(book.events, this.#context).toEqual([])
    await verifyDirectory(this.directory, book, this.#checker, this.#context)
  }

  get #context(): string {
    return `seed ${this.#random.seed}; rounds: ${this.#history.join(', ')}`
  }
}
