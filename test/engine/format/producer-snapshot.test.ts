import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeProducerSnapshot,
  encodeProducerSnapshot,
  PRODUCER_ENTRY,
  PRODUCER_SNAPSHOT,
  type ProducerSnapshotEntry,
} from '../../../engine/format/producer-snapshot.ts'

const int = { min: -(2 ** 31), max: 2 ** 31 - 1 }
const entry: fc.Arbitrary<ProducerSnapshotEntry> = fc.record({
  producerId: fc.maxSafeNat(),
  producerEpoch: fc.integer({ min: -1, max: 32_767 }),
  lastSequence: fc.integer(int),
  lastOffset: fc.maxSafeInteger(),
  offsetDelta: fc.integer(int),
  timestamp: fc.maxSafeInteger(),
  coordinatorEpoch: fc.integer(int),
  transactionFirstOffset: fc.maxSafeInteger(),
})
const snapshots = fc.array(entry, { maxLength: 20 })

test('reads back', () => {
  fc.assert(
    fc.property(snapshots, entries => {
      const bytes = encodeProducerSnapshot(entries)
      expect(bytes.length).toBe(PRODUCER_SNAPSHOT.headerBytes + entries.length * PRODUCER_ENTRY.sizeBytes)
      expect(decodeProducerSnapshot(bytes)).toEqual(entries)
    }),
  )
})

describe('damage', () => {
  test('cut or longer it is unreadable', () => {
    fc.assert(
      fc.property(snapshots, fc.nat(), (entries, random) => {
        const bytes = encodeProducerSnapshot(entries)
        expect(decodeProducerSnapshot(bytes.subarray(0, random % bytes.length))).toBeUndefined()
        expect(decodeProducerSnapshot(Buffer.concat([bytes, Buffer.alloc(1)]))).toBeUndefined()
      }),
    )
  })

  test('with any bit turned it is unreadable', () => {
    fc.assert(
      fc.property(snapshots, fc.nat(), (entries, random) => {
        const bytes = encodeProducerSnapshot(entries)
        const bit = random % (bytes.length * 8)
        bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7))
        expect(decodeProducerSnapshot(bytes)).toBeUndefined()
      }),
    )
  })

  test('any bytes are safe', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void decodeProducerSnapshot(bytes)))
  })
})
