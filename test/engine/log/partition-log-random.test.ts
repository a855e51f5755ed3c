/**
 * Random lives of a partition against the plain list of its batches: services that answer late and in any order between the two
 * of them, rolls for every reason, retention, deletions, changed configuration, clean reopening. After every step what is
 * shared and what is in the files has to be what the list says, and no mark may have gone back.
 */
import { afterAll, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import type { RecordInput } from '../../../engine/format/record-batch.ts'
import { parseTopicConfig } from '../../../engine/log/topic-config.ts'
import { PartitionFixture, START_MS } from './partition-fixture.ts'
import { temporaryDirectories } from './recovery-fixture.ts'

const LIVES = 60
const STEPS = 160

const directories = temporaryDirectories('partition-random')
afterAll(() => directories.removeAll())

const seed = testSeed()

function randomConfig(random: Random): Record<string, string> {
  const config: Record<string, string> = { 'segment.bytes': String(random.pick([16_384, 20_000, 65_536])) }
  if (random.chance(0.4)) config['flush.messages'] = random.pick(['1', '1', '7'])
  if (random.chance(0.3)) config['flush.ms'] = '500'
  if (random.chance(0.3)) config['segment.ms'] = String(random.pick([50, 2_000]))
  if (random.chance(0.2)) config['message.timestamp.type'] = 'LogAppendTime'
  if (random.chance(0.2)) Object.assign(config, { 'segment.index.bytes': '4096', 'index.interval.bytes': '0' })
  if (random.chance(0.5)) config['retention.bytes'] = String(random.between(10_000, 100_000))
  if (random.chance(0.5)) config['retention.ms'] = String(random.between(100, 5_000))
  return config
}

function randomRecords(random: Random, nowMs: number): RecordInput[] {
  const records = random.chance(0.8) ? random.between(1, 5) : random.between(1, 40)
  const large = random.chance(0.1)
  return Array.from({ length: records }, () => ({
    timestamp: random.chance(0.05) ? -1 : nowMs + random.between(-300, 300),
    key: random.chance(0.5) ? null : random.bytes(random.below(20)),
    value: random.chance(0.1) ? null : random.bytes(random.below(large ? 14_000 / records : 120)),
  }))
}

class Life {
  readonly #random: Random
  readonly #fixture: PartitionFixture
  #marks = [0, 0, 0]

  constructor(random: Random) {
    this.#random = random
    this.#fixture = new PartitionFixture(directories.next(), {
      config: randomConfig(random),
      inline: random.chance(0.3),
      leaderEpoch: random.below(5),
      baseOffset: random.chance(0.5) ? 0 : random.below(2 ** 40),
    })
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#step()
      this.#checkMarks()
      if (step % 4 === 0) this.#fixture.check()
    }
    this.#fixture.reopen()
    this.#checkMarks()
    this.#fixture.check()
    expect(this.#fixture.log.highWatermark).toBe(this.#fixture.log.logEndOffset)
    this.#fixture.close()
  }

  #step(): void {
    const { log, services, clock } = this.#fixture
    const random = this.#random
    switch (random.below(20)) {
      case 0:
        clock.advance(random.between(1, 1_000))
        break
      case 1:
        services.inline = random.chance(0.3)
        if (services.inline) services.answerAll()
        break
      case 2:
        this.#retain()
        break
      case 3:
        this.#fixture.deleteRecords(random.between(log.logStartOffset, log.highWatermark))
        break
      case 4:
        log.configure(parseTopicConfig(randomConfig(random)))
        break
      case 5:
        if (log.flushOverdue() || random.chance(0.5)) log.flush()
        break
      case 6:
        log.releaseAhead(random.pick([0, 1_000]))
        break
      case 7:
        if (random.chance(0.2)) this.#fixture.reopen(parseTopicConfig(randomConfig(random)))
        break
      case 8:
      case 9:
      case 10:
      case 11:
        services.answer(random.pick(['janitor', 'flusher', undefined]))
        break
      default:
        this.#append()
    }
  }

  /** Appends batches until one finds no room; what is parked may be tried again or not. */
  #append(): void {
    const batches = this.#random.between(1, 8)
    for (let i = 0; i < batches; i++) {
      const records = randomRecords(this.#random, this.#fixture.clock.nowMs())
      const { logEndOffset } = this.#fixture.log
      const outcome = this.#fixture.tryAppend(records)
      expect(this.#fixture.log.logEndOffset).toBe(logEndOffset + (outcome === 'appended' ? records.length : 0))
      if (outcome === 'parked') {
        if (this.#random.chance(0.7)) this.#fixture.services.answer('janitor')
        if (this.#random.chance(0.5)) return
      }
    }
  }

  #retain(): void {
    const { log } = this.#fixture
    const active = this.#fixture.listed().at(-1)
    const before = this.#fixture.listed().map(({ baseOffset }) => baseOffset)
    const bytesBefore = this.#fixture.listed().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    const newest = Math.max(...this.#fixture.listed().map(({ maxTimestamp }) => maxTimestamp))
    const nowMs = this.#fixture.clock.nowMs()
    const removed = log.applyRetention(nowMs)
    const list = this.#fixture.listed()
    if (before[removed] !== undefined) expect(list[0]?.baseOffset).toBe(before[removed])
    expect(list[0]?.baseOffset ?? 0).toBeLessThanOrEqual(log.highWatermark)
    // The active segment stays, unless everything is older than it may be.
    if (list.every(({ baseOffset }) => baseOffset !== active?.baseOffset)) {
      expect(nowMs - newest).toBeGreaterThan(log.config.retentionMs)
    } else if (removed > 0 && nowMs - newest <= log.config.retentionMs) {
      const left = list.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      expect(left).toBeLessThan(bytesBefore)
    }
    // What is left is wanted: dropping one more would leave too little, or it is not old enough.
    const [first, second] = list
    if (first === undefined || second === undefined || second.baseOffset > log.highWatermark) return
    const left = list.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) - first.sizeBytes
    const { retentionBytes, retentionMs } = log.config
    expect(retentionBytes === -1 || left < retentionBytes).toBe(true)
    expect(retentionMs === -1 || first.maxTimestamp < 0 || nowMs - first.maxTimestamp <= retentionMs).toBe(true)
  }

  /** Log start, high watermark and log end never go back. */
  #checkMarks(): void {
    const marks = (['logStartOffset', 'highWatermark', 'logEndOffset'] as const).map(name => this.#fixture.word(name))
    for (const [index, mark] of marks.entries()) expect(mark).toBeGreaterThanOrEqual(this.#marks[index] as number)
    this.#marks = marks
  }
}

test.for(Array.from({ length: LIVES }, (_, life) => life))('life %i', life => {
  const random = new Random(seed + life)
  try {
    new Life(random).run()
  } catch (error) {
    throw new Error(`MILLRACE_SEED=${seed}, life ${life}, from ${START_MS}: ${(error as Error).message}`, {
      cause: error,
    })
  }
})
