/**
 * `kill -9` of an engine with a busy queue, at random moments and where a step could be split: of what was acknowledged or
 * rejected nothing comes back, of what was pushed nothing is lost, and what was rejected is a dead letter.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DEAD_LETTER_HEADERS, Millrace } from '../../client/index.ts'
import type { Failpoint } from '../../engine/base/failpoints.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { QUEUE, QUEUE_OPTIONS, type QueueingPlan } from './programs/queueing.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const ROUNDS = process.env['MILLRACE_FAULTS'] === 'all' ? 3 : 2
/** Jobs that were acknowledged in the end; where failpoints end each life soon, and on a slow machine, it takes more rounds. */
const DONE_MIN = 50
const ROUNDS_MAX = 12
/** Jobs that a life has acknowledged when it ends at a random moment, unless that takes too long. */
const DONE_OF_A_LIFE = 30
const POINTS: readonly Failpoint[] = ['share-before-put', 'share-after-put', 'dead-letter-after-append']
const LATEST_MS = 20_000

const seed = testSeed()

/** Facts of all rounds, in their order; a name is `partition/offset`. */
class Facts {
  readonly pushed = new Set<string>()
  readonly done = new Set<string>()
  readonly rejected = new Set<string>()

  constructor(path: string) {
    for (const line of readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
      const [what, name] = line.split(' ') as [string, string]
      if (what === 'pushed') this.pushed.add(name)
      else if (what === 'done') this.done.add(name)
      else if (what === 'rejected') this.rejected.add(name)
      else if (what === 'delivered') this.#delivered(name)
      else expect(line).toMatch(/^event \S+ INVALID_RECORD_STATE/) // a lock that ended on a busy machine
    }
  }

  #delivered(name: string): void {
    expect(this.done.has(name), `${name} was delivered after it was acknowledged`).toBe(false)
    expect(this.rejected.has(name), `${name} was delivered after it was rejected`).toBe(false)
  }
}

/** Takes all that is left; then every job is somewhere. */
async function verify(directory: string, ackPath: string): Promise<Facts> {
  const facts = new Facts(ackPath)
  await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  await using queue = engine.queue(QUEUE, QUEUE_OPTIONS)
  const left = new Set<string>()
  for (;;) {
    const jobs = await queue.take(100, { waitMs: 100 })
    for (const { partition, offset } of jobs) {
      const name = `${partition}/${offset}`
      expect(facts.done.has(name) || facts.rejected.has(name), `${name} came back`).toBe(false)
      left.add(name)
    }
    await Promise.all(jobs.map(job => job.renew()))
    const { available, delayed, dying } = await queue.statistics()
    if (jobs.length === 0 && available + delayed + dying === 0) break
  }
  const letters = new Set<string>()
  const topics = await engine.admin.listTopics()
  if (topics.includes(`dlq.${QUEUE}`)) {
    for await (const { headers } of engine.reader({ topic: `dlq.${QUEUE}` }).records()) {
      const text = (key: string): string =>
        Buffer.from(headers.find(header => header.key === key)?.value ?? []).toString()
      letters.add(`${text(DEAD_LETTER_HEADERS.partition)}/${text(DEAD_LETTER_HEADERS.offset)}`)
    }
  }
  expect([...facts.rejected].filter(name => !letters.has(name))).toEqual([])
  // An acknowledgement that was not answered any more may hold, and nobody knows: its job was delivered, and is nowhere.
  const unknown = [...facts.pushed].filter(name => !facts.done.has(name) && !letters.has(name) && !left.has(name))
  const delivered = new Set(readFileSync(ackPath, 'utf8').match(/(?<=^delivered )\S+$/gm))
  expect(unknown.filter(name => !delivered.has(name))).toEqual([])
  return facts
}

/** Waits so long, and until the process got some jobs done. */
async function workSome(child: Child, ackPath: string, leastMs: number): Promise<void> {
  const done = (): number => readFileSync(ackPath, 'utf8').match(/^done /gm)?.length ?? 0
  const [wanted, untilMs] = [done() + DONE_OF_A_LIFE, performance.now() + LATEST_MS]
  await new Promise(resolve => setTimeout(resolve, leastMs))
  while (done() < wanted && performance.now() < untilMs && !child.hasEnded) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

describe('kill -9 of a busy queue', () => {
  const cases: (readonly [string, string | undefined])[] = [
    ['at random moments', undefined],
    ...POINTS.map(point => [`at ${point}`, point] as const),
  ]
  test.for(cases)('%s', { timeout: 240_000 }, async ([, point]) => {
    const home = temporaryDirectory('queue')
    const directory = join(home, 'data')
    const ackPath = join(home, 'acks')
    const random = new Random(seed)
    let facts: Facts | undefined
    for (let round = 0; round < ROUNDS || ((facts?.done.size ?? 0) <= DONE_MIN && round < ROUNDS_MAX); round++) {
      const plan: QueueingPlan = { directory, ackPath, seed: random.u32() }
      const failpoints =
        point === undefined ? {} : { failpoints: `${point}=kill@${random.between(1, 30) + 20 * round}` }
      const child = new Child('queueing.ts', plan, failpoints)
      await child.line(/^ready$/)
      if (point === undefined) await workSome(child, ackPath, random.between(100, 700))
      else await Promise.race([child.ended, new Promise(resolve => setTimeout(resolve, LATEST_MS).unref())])
      if (point !== undefined) expect(child.hasEnded, `${point} was passed`).toBe(true)
      await child.kill()
      if (random.chance(0.3) || round >= ROUNDS - 1) facts = await verify(directory, ackPath)
    }
    expect(facts?.pushed.size).toBeGreaterThan(0)
    expect(facts?.done.size).toBeGreaterThan(DONE_MIN)
  })
})
