/**
 * Flushes that fail. After one the page cache shows bytes that the disk may not have, and the next call "succeeds". So nothing that
 * a failed flush should have covered is ever acknowledged, shown or kept; the producer is told; the partition is rewritten
 * into new files up to what is trusted, and takes appends again.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import type { SendPlan } from './programs/sender.ts'
import { type AckBook, readAckBook } from './support/ack-log.ts'
import { Checker } from './support/checker.ts'
import { Child, type ChildOptions, type Ended } from './support/child.ts'
import { PowerRig } from './support/power-rig.ts'
import { needTool, skip, temporaryDirectory } from './support/surroundings.ts'
import { verifyDirectory } from './support/verify.ts'

const seed = testSeed()
const CONFIG = { 'segment.bytes': 65_536, 'index.interval.bytes': 1_024, 'retention.ms': -1 }
const DURABLE = { ...CONFIG, 'flush.messages': 1 }
const FIRST_LOG = '00000000000000000000.log'

const LONGEST_MS = 10_000

interface Outcome {
  readonly tookMs: number
  readonly book: AckBook
  readonly ended: Ended
  readonly output: string
}

class Scene {
  readonly directory: string
  readonly random: Random
  readonly ackPath: string
  #run = 0

  constructor(random: Random, folder = temporaryDirectory('flush')) {
    this.directory = join(folder, 'data')
    this.ackPath = join(temporaryDirectory('flush-acks'), 'acks')
    this.random = random
  }

  get partitionFolder(): string {
    return join(this.directory, 'topic-0')
  }

  start(plan: Partial<SendPlan>, options: ChildOptions): Child {
    const { directory, ackPath } = this
    const full: SendPlan = {
      directory,
      ackPath,
      run: this.#run++,
      seed: this.random.u32(),
      topic: 'topic',
      partitions: 1,
      config: DURABLE,
      successes: 40,
      failures: 1,
      longestMs: LONGEST_MS,
      ...plan,
    }
    return new Child('sender.ts', full, options)
  }

  async run(plan: Partial<SendPlan>, options: ChildOptions): Promise<Outcome> {
    const startMs = performance.now()
    const child = this.start(plan, options)
    const ended = await child.exit(30_000)
    const tookMs = performance.now() - startMs
    return { tookMs, book: readAckBook({ path: this.ackPath }), ended, output: child.output }
  }

  /** Everything that was acknowledged or shown is there; of a durable topic nothing that failed is. */
  async verify(failedAreGone = true): Promise<void> {
    const book = readAckBook({ path: this.ackPath })
    await verifyDirectory(this.directory, book, new Checker(this.random), `seed ${this.random.seed}`, { failedAreGone })
  }
}

/** strace that makes calls on some paths fail, as its own process around Node. */
function failing(call: string, when: string, trace: string, ...paths: string[]): ChildOptions {
  const only = paths.flatMap(path => ['-P', path])
  const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:error=EIO:when=${when}`]
  return { wrapper: ['strace', '-f', '-qq', '--seccomp-bpf', '-o', trace, ...only, ...inject] }
}

function demandFlushFailures({ book, ended, output }: Outcome): void {
  const context = `${book.events.join('\n')}\n${output}`
  expect(ended, context).toMatchObject({ code: 0, signal: null })
  expect(new Set(book.failed.map(({ code }) => code)), context).toEqual(new Set(['FLUSH_FAILED']))
  expect(book.events.some(event => event.startsWith('partition-failed') && event.includes('FLUSH_FAILED'))).toBe(true)
}

describe('a flush that fails, by strace', () => {
  // strace counts for each thread by itself: flusher, writer, and the job that repairs. A repair that fails is tried again.
  test.for([
    { name: 'the first', call: 'fdatasync', when: '1', what: FIRST_LOG },
    { name: 'a later one', call: 'fdatasync', when: '4', what: FIRST_LOG },
    { name: 'several in a row', call: 'fdatasync', when: '3..5', what: FIRST_LOG },
    { name: 'that of the folder', call: 'fsync', when: '1', what: '' },
  ])('$name', { timeout: 60_000 }, async ({ call, when, what }, context) => {
    const missing = needTool('strace', 'strace')
    if (missing !== undefined) return skip(context, missing)
    const scene = new Scene(new Random(seed))
    await scene.run({ failures: 0, successes: 10 }, {}) // so that the topic is there
    const trace = join(temporaryDirectory('strace'), 'trace')
    const outcome = await scene.run({}, failing(call, when, trace, join(scene.partitionFolder, what)))
    expect(readFileSync(trace, 'utf8')).toContain('(INJECTED)')
    demandFlushFailures(outcome)
    expect(outcome.tookMs, 'it came back by itself').toBeLessThan(LONGEST_MS)
    await scene.verify()
  })

  test('and a repair that fails as well: the partition stays down and says so, a restart brings it back', {
    timeout: 60_000,
  }, async context => {
    const missing = needTool('strace', 'strace')
    if (missing !== undefined) return skip(context, missing)
    const scene = new Scene(new Random(seed))
    const trace = join(temporaryDirectory('strace'), 'trace')
    const log = join(scene.partitionFolder, FIRST_LOG)
    const outcome = await scene.run(
      { successes: 1_000_000, longestMs: 1_500 },
      failing('fdatasync', '4+', trace, log, `${log}.repair`),
    )
    demandFlushFailures(outcome)
    expect(outcome.book.acks.length).toBeGreaterThan(0)
    await scene.verify()
  })
})

describe('a flush that fails, at failpoints', () => {
  test.for([
    { failpoints: 'flush-before-sync=throw@1', config: DURABLE },
    { failpoints: 'flush-before-sync=throw@7', config: DURABLE },
    { failpoints: 'flush-after-sync=throw@7', config: DURABLE },
    { failpoints: 'seal-before-cut=throw@1', config: DURABLE },
    { failpoints: 'seal-before-cut=throw@2,flush-before-sync=throw@20', config: DURABLE },
  ])('$failpoints', { timeout: 60_000 }, async ({ failpoints, config }) => {
    const scene = new Scene(new Random(seed))
    demandFlushFailures(await scene.run({ config, senders: 8, successes: 60 }, { failpoints }))
    await scene.verify()
    await scene.run({ failures: 0 }, {})
    await scene.verify()
  })

  test('of a topic that is not durable: what was acknowledged is kept', { timeout: 60_000 }, async () => {
    const scene = new Scene(new Random(seed))
    const config = { ...CONFIG, 'flush.messages': 40 }
    const { book, ended, output } = await scene.run(
      { config, successes: 200 },
      { failpoints: 'flush-before-sync=throw@4' },
    )
    expect(ended, output).toMatchObject({ code: 0 })
    expect(book.events.some(event => event.startsWith('partition-failed') && event.includes('FLUSH_FAILED'))).toBe(true)
    await scene.verify(false)
  })

  test('while the engine closes: it says so and ends, and nothing acknowledged is lost', {
    timeout: 60_000,
  }, async () => {
    const scene = new Scene(new Random(seed))
    const { ended, output } = await scene.run(
      { config: CONFIG, successes: 20, failures: 0 },
      { failpoints: 'flush-before-sync=throw@1' },
    )
    expect(ended, output).toMatchObject({ code: 0, signal: null })
    await scene.verify(false)
  })

  test('and the process dies in the repair', { timeout: 60_000 }, async () => {
    const scene = new Scene(new Random(seed))
    // Few flushes serve many sends, and each thread that flushes counts its own.
    const failpoints = 'flush-before-sync=throw@3,repair-before-rename=kill@1'
    const { ended, output } = await scene.run({ successes: 1_000, keepFailpoints: true }, { failpoints })
    expect(ended, output).toMatchObject({ signal: 'SIGKILL', killed: false })
    await scene.verify(false)
    await scene.run({ failures: 0 }, {})
    await scene.verify(false)
  })
})

test('what is kept after a failed flush lies in a new file', { timeout: 60_000 }, async () => {
  const scene = new Scene(new Random(seed))
  const config = { ...DURABLE, 'segment.bytes': 1_048_576 }
  const child = scene.start({ successes: 1_000_000, config }, { failpoints: 'flush-before-sync=throw@30' })
  const log = join(scene.partitionFolder, FIRST_LOG)
  await child.line(/^ready$/)
  while (!existsSync(log) || statSync(log).size === 0) await new Promise(resolve => setTimeout(resolve, 1))
  const before = statSync(log).ino
  const failed = (): boolean => readAckBook({ path: scene.ackPath }).failed.length > 0
  for (let tries = 0; !failed() && tries < 1_000; tries++) await new Promise(resolve => setTimeout(resolve, 10))
  child.tell('stop')
  expect(await child.exit(), child.output).toMatchObject({ code: 0 })
  expect(statSync(log).ino).not.toBe(before)
  await scene.verify()
})

test('a failed flush and then a loss of power: what was acknowledged is on the disk', {
  timeout: 90_000,
}, async context => {
  const rig = PowerRig.create()
  if (typeof rig === 'string') return skip(context, rig)
  const random = new Random(seed)
  const disk = rig.newDisk()
  const live = rig.mount(disk)
  const scene = new Scene(random, live.path)
  const points = `flush-before-sync=throw@${random.between(5, 40)},seal-before-cut=throw@${random.between(1, 3)}`
  const child = scene.start({ successes: 1_000_000, senders: 8 }, { failpoints: points })
  await child.line(/^ready$/)
  const snapshots: { image: string; bytes: number }[] = []
  for (let i = 0; i < 4; i++) {
    await new Promise(resolve => setTimeout(resolve, random.between(30, 250)))
    const bytes = statSync(scene.ackPath).size
    snapshots.push({ image: rig.snapshot(disk), bytes })
  }
  await child.kill()
  live.unmount()
  const { failed, acks } = readAckBook({ path: scene.ackPath })
  for (const { image, bytes } of snapshots) {
    const copy = rig.mount(image)
    // A send may have failed between the two steps of taking the snapshot.
    const book = { ...readAckBook({ path: scene.ackPath, bytes }), failed }
    await verifyDirectory(join(copy.path, 'data'), book, new Checker(random), `${points}; seed ${seed}`)
    copy.unmount()
  }
  expect(failed.length).toBeGreaterThan(0)
  expect(acks.length).toBeGreaterThan(0)
})
