/** When changes of share partitions are stored, in which transaction, and what becomes of those that a disk refuses. */
import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../../engine/base/brands.ts'
import { ManualClock } from '../../../../engine/base/clock.ts'
import { MillraceError } from '../../../../engine/base/errors.ts'
import { SharePartition } from '../../../../engine/group/share/share-partition.ts'
import { ShareWrites, type StoredUnit } from '../../../../engine/group/share/share-writes.ts'
import type { SharePartitionChanges, ShareStore } from '../../../../engine/store/share-states.ts'

const SETTINGS = {
  lockDurationMs: 1_000,
  deliveryCountLimit: 5,
  recordLocksMax: 100,
  delayedRecordsMax: 10,
  hasDeadLetters: false,
}

/** A store whose transactions end when the test says so. */
class TestStore {
  readonly puts: { entries: readonly SharePartitionChanges[]; resolve: () => void; reject: (error: Error) => void }[] =
    []

  put(entries: readonly SharePartitionChanges[]): Promise<void> {
    return new Promise((resolve, reject) => this.puts.push({ entries, resolve, reject }))
  }
}

class Unit implements StoredUnit {
  readonly group = 'g'
  readonly topicId = '00000000-0000-4000-8000-000000000000' as TopicId
  readonly partition: number
  readonly share = new SharePartition(SETTINGS, new ManualClock(), 0)
  readonly storedOffsets: number[] = []
  isClosed = false

  constructor(partition: number) {
    this.partition = partition
  }

  stored(startOffset: number): void {
    this.storedOffsets.push(startOffset)
  }

  /** Takes one record and finishes it. */
  finishOne(): void {
    const offset = this.share.endOffset
    this.share.acquire('m', 1, offset + 1)
    this.share.acknowledge('m', [{ firstOffset: offset, lastOffset: offset, type: 'accept' }])
  }
}

function start() {
  const store = new TestStore()
  const failures: unknown[] = []
  const writes = new ShareWrites(store as unknown as ShareStore, error => failures.push(error))
  return { store, writes, failures }
}

const turn = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
}

describe('changes', () => {
  test('of one turn, and all that come while a transaction is under way, share one', async () => {
    const { store, writes } = start()
    const units = [0, 1, 2].map(partition => new Unit(partition))
    const waits = units.slice(0, 2).map(unit => {
      unit.finishOne()
      writes.note(unit)
      return writes.stored()
    })
    await turn()
    expect(store.puts.map(({ entries }) => entries.map(({ partition }) => partition))).toEqual([[0, 1]])
    for (const unit of [units[0], units[2], units[2]] as Unit[]) {
      unit.finishOne()
      writes.note(unit)
    }
    const later = writes.stored()
    await turn()
    expect(store.puts).toHaveLength(1)
    store.puts[0]?.resolve()
    await Promise.all(waits)
    expect(units.map(({ storedOffsets }) => storedOffsets)).toEqual([[1], [1], []])
    await turn()
    expect(store.puts[1]?.entries.map(({ partition, changes }) => [partition, changes.facts.startOffset])).toEqual([
      [0, 2],
      [2, 2],
    ])
    store.puts[1]?.resolve()
    await later
  })

  test('that nobody waits for are stored a little later, or along with those that somebody does', async () => {
    const { store, writes } = start()
    const [lazy, other] = [new Unit(0), new Unit(1)]
    lazy.share.acquire('m', 5, 5)
    writes.note(lazy)
    await turn()
    other.finishOne()
    writes.note(other)
    const stored = writes.stored()
    await turn()
    expect(store.puts.map(({ entries }) => entries.length)).toEqual([2])
    store.puts[0]?.resolve()
    await stored
    lazy.share.leave('m')
    writes.note(lazy)
    await expect.poll(() => store.puts.length, { timeout: 20_000 }).toBe(2)
  })

  test('that could not be stored fail who waits, and come with the next', async () => {
    const { store, writes, failures } = start()
    const unit = new Unit(0)
    unit.finishOne()
    writes.note(unit)
    const refused = writes.stored()
    refused.catch(() => undefined)
    await turn()
    store.puts[0]?.reject(new MillraceError('DISK_FULL'))
    await expect(refused).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(failures).toHaveLength(1)
    expect(unit.storedOffsets).toEqual([])
    unit.finishOne()
    writes.note(unit)
    const stored = writes.stored()
    await turn()
    expect(store.puts[1]?.entries[0]?.changes).toEqual({
      facts: { startOffset: 2, endOffset: 2, accepted: 2, deadLettered: 0 },
      blocks: new Map([[0, []]]),
    })
    store.puts[1]?.resolve()
    await stored
    expect(unit.storedOffsets).toEqual([2])
  })

  test('that could not be stored are tried again by themselves', async () => {
    const { store, writes } = start()
    const unit = new Unit(0)
    unit.finishOne()
    writes.note(unit)
    writes.stored().catch(() => undefined)
    await turn()
    store.puts[0]?.reject(new MillraceError('DISK_FULL'))
    await expect.poll(() => store.puts.length, { timeout: 20_000 }).toBe(2)
  })

  test('of what is gone are left out', async () => {
    const { store, writes } = start()
    const [gone, unit] = [new Unit(0), new Unit(1)]
    for (const each of [gone, unit]) {
      each.finishOne()
      writes.note(each)
    }
    gone.isClosed = true
    void writes.stored()
    await turn()
    expect(store.puts[0]?.entries.map(({ partition }) => partition)).toEqual([1])
  })

  test('are stored before a close ends', async () => {
    const { store, writes } = start()
    const unit = new Unit(0)
    unit.finishOne()
    writes.note(unit)
    let isClosed = false
    const closing = writes.close().then(() => {
      isClosed = true
    })
    await turn()
    expect([store.puts.length, isClosed]).toEqual([1, false])
    store.puts[0]?.resolve()
    await closing
    expect(unit.storedOffsets).toEqual([1])
  })
})
