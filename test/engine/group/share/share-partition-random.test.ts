/**
 * Random lives of a share partition against one object for each record: members that acquire, acknowledge in every way,
 * leave and come back late, clocks that jump, logs that grow, are deleted from and are cut, engines that die. After every
 * step both have to be the same, and what was stored has to be all that a restart needs.
 */
import { beforeEach, expect, test } from 'vitest'
import { ManualClock } from '../../../../engine/base/clock.ts'
import { Random, testSeed } from '../../../../engine/base/random.ts'
import { SharePartition } from '../../../../engine/group/share/share-partition.ts'
import {
  ACKNOWLEDGE_TYPES,
  type Acknowledgement,
  type DeadLetter,
  type ShareSettings,
} from '../../../../engine/group/share/share-types.ts'
import type { RunRow, ShareFacts } from '../../../../engine/store/share-states.ts'
import { printSeed } from '../../memory/threads.ts'
import { ShareModel, singly } from './share-model.ts'

const LIVES = 200
const STEPS = 100
const MEMBERS = ['a', 'b', 'c']

const seed = testSeed()
beforeEach(printSeed(seed))

function randomSettings(random: Random): ShareSettings {
  return {
    lockDurationMs: random.between(10, 100),
    deliveryCountLimit: random.pick([1, 2, 5, 5]),
    recordLocksMax: random.pick([1, 5, 50, 50]),
    delayedRecordsMax: random.pick([1, 10, 200]),
    hasDeadLetters: random.chance(0.8),
  }
}

class Life {
  readonly #random: Random
  readonly #clock = new ManualClock(1_000_000)
  readonly #model: ShareModel
  #share: SharePartition
  #logEndOffset: number
  /** What a crash would leave. */
  #facts: ShareFacts
  readonly #blocks = new Map<number, readonly RunRow[]>()
  readonly #unanswered: DeadLetter[] = []

  constructor(random: Random) {
    this.#random = random
    const settings = randomSettings(random)
    const startOffset = random.pick([0, 1_000, 5_000_000_000])
    this.#logEndOffset = startOffset + random.below(50)
    this.#model = new ShareModel(settings, this.#clock, startOffset)
    this.#share = new SharePartition(settings, this.#clock, startOffset)
    this.#facts = this.#share.facts
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#step()
      this.#check()
    }
  }

  #step(): void {
    const random = this.#random
    const share = this.#share
    const model = this.#model
    const member = random.pick(MEMBERS)
    const kind = random.below(100)
    if (kind < 30) this.#acquire(member)
    else if (kind < 65) this.#acknowledge(member)
    else if (kind < 75) this.#logEndOffset += random.below(random.chance(0.1) ? 3_000 : 30)
    else if (kind < 85) {
      this.#clock.advance(random.below(40))
      share.advance()
      model.advance()
    } else if (kind < 89) {
      share.leave(member)
      model.leave(member)
    } else if (kind < 94) this.#answerLetters()
    else if (kind < 96) {
      const logStartOffset = share.startOffset + random.below(20)
      if (logStartOffset > this.#logEndOffset) return
      share.logStartMoved(logStartOffset)
      model.logStartMoved(logStartOffset)
    } else if (kind < 97) {
      this.#logEndOffset = Math.max(share.startOffset, this.#logEndOffset - random.below(40))
      share.logCut(this.#logEndOffset)
      model.logCut(this.#logEndOffset)
    } else this.#restart()
  }

  #acquire(member: string): void {
    const most = this.#random.between(1, this.#random.chance(0.1) ? 2_000 : 12)
    const end = this.#random.chance(0.8) ? this.#logEndOffset : this.#share.startOffset + this.#random.below(40)
    const limit = Math.min(end, this.#logEndOffset)
    const next = this.#share.nextOffset(limit)
    const acquired = this.#share.acquire(member, most, limit)
    expect(acquired).toEqual(this.#model.acquire(member, most, limit))
    expect(acquired[0]?.firstOffset).toBe(next)
  }

  #acknowledge(member: string): void {
    const random = this.#random
    const held = [...this.#model.records].filter(([, record]) => record.memberId === member)
    const first = held.length > 0 && random.chance(0.95) ? random.pick(held)[0] : this.#share.startOffset
    const one: Acknowledgement = {
      firstOffset: first,
      lastOffset: first + random.between(random.chance(0.05) ? -1 : 0, random.pick([0, 3, 10])),
      type: random.pick(ACKNOWLEDGE_TYPES),
      ...(random.chance(0.5) ? { notBeforeMs: this.#clock.nowMs() + random.between(-5, 60) } : {}),
      ...(random.chance(0.3) ? { undelivered: true } : {}),
      ...(random.chance(0.3) ? { reason: 'because' } : {}),
    }
    expect(this.#share.acknowledge(member, [one])).toEqual([this.#model.acknowledge(member, one)])
  }

  #answerLetters(): void {
    while (this.#unanswered.length > 0 && this.#random.chance(0.8)) {
      const { firstOffset, lastOffset } = this.#unanswered.splice(
        this.#random.below(this.#unanswered.length),
        1,
      )[0] as DeadLetter
      this.#share.deadLettered(firstOffset, lastOffset)
      this.#model.letterAppended(firstOffset, lastOffset)
    }
  }

  #restart(): void {
    this.#store()
    this.#unanswered.length = 0
    this.#share = new SharePartition(this.#model.settings, this.#clock, { facts: this.#facts, blocks: this.#blocks })
    this.#model.restart()
    this.#share.advance()
    this.#model.advance()
  }

  /** As the coordinator does, with a disk that refuses now and then. */
  #store(): void {
    for (let refusals = this.#random.below(2); refusals > 0; refusals--) {
      this.#share.changesFailed(this.#share.takeChanges())
    }
    const { facts, blocks } = this.#share.takeChanges()
    this.#facts = facts
    for (const [number, rows] of blocks) {
      if (rows.length === 0) this.#blocks.delete(number)
      else this.#blocks.set(number, rows)
    }
    expect(this.#share.hasChanges).toBe(false)
  }

  #check(): void {
    const share = this.#share
    const model = this.#model
    expect(share.counts).toEqual(model.counts)
    expect([share.startOffset, share.endOffset]).toEqual([model.startOffset, model.endOffset])
    const records = share.runs.flatMap(run =>
      Array.from({ length: run.end - run.first }, (_, i) => [run.first + i, run.deliveryCount, run.memberId, run.atMs]),
    )
    const expected = [...model.records].sort(([a], [b]) => a - b)
    expect(records).toEqual(expected.map(([offset, r]) => [offset, r.deliveryCount, r.memberId, r.atMs]))
    const letters = share.takeDeadLetters()
    expect(singly(letters)).toEqual(singly(model.letters))
    model.letters = []
    this.#unanswered.push(...letters)
    const { acquired, archiving, delayed } = share.counts
    const { recordLocksMax, delayedRecordsMax } = model.settings
    expect(acquired).toBeLessThanOrEqual(recordLocksMax)
    expect(archiving + delayed + acquired).toBeLessThanOrEqual(recordLocksMax * 2 + delayedRecordsMax)
    if (this.#random.chance(0.3)) this.#store()
  }
}

test(`random lives of a share partition (MILLRACE_SEED=${seed})`, () => {
  const random = new Random(seed)
  for (let life = 0; life < LIVES; life++) new Life(new Random(random.u32())).run()
})
