/** The states of idempotent producers against a plain model: the list of everything that each producer was ever granted. */
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { PRODUCER_STATES_MAX } from '../../../engine/base/limits.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { ATTRIBUTE, BATCH } from '../../../engine/format/record-batch.ts'
import { writeI64 } from '../../../engine/format/region.ts'
import { hasProducer, ProducerStates, sequenceAfter } from '../../../engine/log/producer-state.ts'

const SEQUENCES = 2 ** 31
const EXPIRATION_MS = 1_000

interface Sent {
  readonly id: number
  readonly epoch: number
  readonly sequence: number
  readonly records: number
}

/** A header with what the states look at. */
function header({ id, epoch, sequence, records }: Sent, baseOffset = 0, attributes = 0): DataView {
  const view = new DataView(new ArrayBuffer(BATCH.headerBytes))
  writeI64(view, BATCH.baseOffsetAt, baseOffset)
  writeI64(view, BATCH.producerIdAt, id)
  view.setInt16(BATCH.producerEpochAt, epoch)
  view.setInt32(BATCH.baseSequenceAt, sequence)
  view.setInt32(BATCH.lastOffsetDeltaAt, records - 1)
  view.setInt16(BATCH.attributesAt, attributes)
  writeI64(view, BATCH.maxTimestampAt, 7)
  return view
}

/** What a check says: an offset, -1 for a new batch, or the code of the error. */
function outcome(states: ProducerStates, sent: Sent, nowMs = 0): number | string {
  try {
    return states.check(header(sent), 0, nowMs)
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
}

class Model {
  readonly #producers = new Map<number, { epoch: number; usedMs: number; batches: (Sent & { offset: number })[] }>()

  expected({ id, epoch, sequence, records }: Sent, nowMs: number): number | string {
    const known = this.#producers.get(id)
    if (known === undefined || nowMs - known.usedMs >= EXPIRATION_MS) return -1
    if (epoch < known.epoch) return 'INVALID_PRODUCER_EPOCH'
    if (epoch > known.epoch) return sequence === 0 ? -1 : 'OUT_OF_ORDER_SEQUENCE_NUMBER'
    const last = known.batches.at(-1)
    const next = last === undefined ? 0 : (last.sequence + last.records) % SEQUENCES
    if (sequence === next) return -1
    const same = known.batches.slice(-5).find(batch => batch.sequence === sequence && batch.records === records)
    return same?.offset ?? 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  }

  append(sent: Sent, offset: number, nowMs: number): void {
    const known = this.#producers.get(sent.id)
    const goesOn = known !== undefined && known.epoch === sent.epoch && nowMs - known.usedMs < EXPIRATION_MS
    const batches = goesOn ? known.batches : []
    batches.push({ ...sent, offset })
    this.#producers.set(sent.id, { epoch: sent.epoch, usedMs: nowMs, batches })
  }

  last(id: number): Sent[] {
    return this.#producers.get(id)?.batches.slice(-7) ?? []
  }
}

test('random producers', () => {
  const random = new Random(testSeed())
  for (let life = 0; life < 40; life++) {
    const states = new ProducerStates(EXPIRATION_MS)
    const model = new Model()
    let offset = 0
    let nowMs = 0
    for (let step = 0; step < 400; step++) {
      if (random.chance(0.05)) nowMs += random.below(EXPIRATION_MS)
      if (random.chance(0.02)) states.expire(nowMs)
      const id = random.below(4)
      const recent = model.last(id)
      const last = recent.at(-1)
      const next = last === undefined ? SEQUENCES - 20 : (last.sequence + last.records) % SEQUENCES
      const fresh = { id, epoch: last?.epoch ?? 0, sequence: next, records: random.between(1, 9) }
      let sent: Sent = fresh
      if (random.chance(0.2) && recent.length > 0) sent = recent[random.below(recent.length)] as Sent
      else if (random.chance(0.1)) sent = { ...fresh, sequence: random.chance(0.5) ? 0 : random.below(SEQUENCES) }
      if (random.chance(0.1)) sent = { ...sent, epoch: Math.max(0, sent.epoch + random.between(-1, 1)) }
      const expected = model.expected(sent, nowMs)
      expect(outcome(states, sent, nowMs), `seed ${random.seed}, life ${life}, step ${step}`).toBe(expected)
      if (expected !== -1) continue
      states.appended(header(sent, offset), 0, nowMs)
      model.append(sent, offset, nowMs)
      offset += sent.records
      if (!random.chance(0.05)) continue
      // Through a snapshot nothing is lost; idle time begins anew.
      const entries = states.entries()
      const again = new ProducerStates(EXPIRATION_MS)
      again.load(entries, nowMs)
      expect(again.entries()).toEqual(entries)
      for (let other = 0; other < 4; other++) {
        const batch = model.last(other).at(-1)
        const known = batch === undefined ? -1 : model.expected(batch, nowMs)
        if (batch !== undefined && known !== -1) expect(outcome(again, batch, nowMs)).toBe(known)
      }
    }
  }
})

describe('rules', () => {
  const first = { id: 1, epoch: 0, sequence: 0, records: 3 }

  test('only a batch with a producer id is looked at', () => {
    expect(hasProducer(header(first), 0)).toBe(true)
    expect(hasProducer(header({ ...first, id: 0 }), 0)).toBe(true)
    expect(hasProducer(header({ ...first, id: 2 ** 53 - 1 }), 0)).toBe(true)
    expect(hasProducer(header({ ...first, id: -1 }), 0)).toBe(false)
  })

  test('sequences go on at 0 behind 2^31 - 1', () => {
    expect(sequenceAfter(SEQUENCES - 1, 1)).toBe(0)
    expect(sequenceAfter(SEQUENCES - 2, 1)).toBe(SEQUENCES - 1)
    const states = new ProducerStates(EXPIRATION_MS)
    const across = { id: 1, epoch: 0, sequence: SEQUENCES - 2, records: 5 }
    states.appended(header(across, 100), 0, 0)
    expect(outcome(states, across)).toBe(100)
    expect(outcome(states, { ...first, sequence: 3 })).toBe(-1)
  })

  test('a producer id without an epoch or a sequence is refused', () => {
    const states = new ProducerStates(EXPIRATION_MS)
    expect(outcome(states, { ...first, epoch: -1 })).toBe('INVALID_RECORD')
    expect(outcome(states, { ...first, sequence: -1 })).toBe('INVALID_RECORD')
  })

  test('of too many producers those that were idle longest are forgotten', () => {
    const states = new ProducerStates(EXPIRATION_MS)
    for (let id = 0; id < PRODUCER_STATES_MAX; id++)
      states.appended(header({ ...first, id }, id), 0, id === 5 ? 900 : 0)
    states.appended(header({ ...first, id: PRODUCER_STATES_MAX }, 7), 0, 901)
    expect(states.count).toBe(PRODUCER_STATES_MAX - PRODUCER_STATES_MAX / 10 + 1)
    expect(outcome(states, { ...first, id: 5 }, 901)).toBe(5)
    expect(outcome(states, { ...first, id: 0 }, 901)).toBe(-1)
  })

  test('a transaction is open from its first batch to its marker, and keeps its producer known', () => {
    const states = new ProducerStates(EXPIRATION_MS)
    expect(states.firstUnstableOffset).toBe(Number.POSITIVE_INFINITY)
    states.appended(header(first, 10, ATTRIBUTE.transactional), 0, 0)
    states.appended(header({ ...first, sequence: 3 }, 13, ATTRIBUTE.transactional), 0, 0)
    states.expire(10 * EXPIRATION_MS)
    expect(states.firstUnstableOffset).toBe(10)
    states.transactionEnded(1, 1, 4, 99, 0)
    expect(states.firstUnstableOffset).toBe(Number.POSITIVE_INFINITY)
    // The marker began another epoch, which has no batch yet.
    expect(states.entries()).toEqual([
      {
        producerId: 1,
        producerEpoch: 1,
        lastSequence: -1,
        lastOffset: -1,
        offsetDelta: 0,
        timestamp: 99,
        coordinatorEpoch: 4,
        transactionFirstOffset: -1,
      },
    ])
    expect(outcome(states, { ...first, epoch: 1 })).toBe(-1)
    expect(outcome(states, { ...first, epoch: 1, sequence: 6 })).toBe('OUT_OF_ORDER_SEQUENCE_NUMBER')
    states.expire(EXPIRATION_MS)
    expect(states.count).toBe(0)
  })

  test("of Kafka's snapshot the one entry is the last batch", () => {
    const states = new ProducerStates(EXPIRATION_MS)
    states.load(
      [
        {
          producerId: 1,
          producerEpoch: 0,
          lastSequence: 2,
          lastOffset: 42,
          offsetDelta: 2,
          timestamp: 7,
          coordinatorEpoch: -1,
          transactionFirstOffset: -1,
        },
      ],
      0,
    )
    expect(outcome(states, first)).toBe(40)
    expect(outcome(states, { ...first, sequence: 3 })).toBe(-1)
  })
})
