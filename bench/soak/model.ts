/**
 * What the soak's topics hold, as a function: the record at any offset follows from seed, partition and offset, so every record
 * that is read can be checked however long the run is and whatever was removed meanwhile. Pure functions; any thread.
 *
 *     value: offset u64 │ partition u32 │ a run of bytes whose length and content follow from seed, partition and offset
 */
import type { ConsumedRecord } from '../../client/index.ts'

/** Timestamp of offset 0; each offset has a millisecond of its own. */
export const FIRST_TIMESTAMP = 1_700_000_000_000
/** Keys of a partition of the compacted topic. */
export const KEYS = 512

const HEAD_BYTES = 12
const TAIL_BYTES_MAX = 500
/** One in so many records of the compacted topic is a tombstone. */
const TOMBSTONE_EVERY = 17

export interface ModelRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly timestamp: number
}

/** A well mixed number from three: the finalizer of MurmurHash3. */
function mix(seed: number, partition: number, offset: number): number {
  let hash = (seed ^ Math.imul(partition + 1, 0x9e37_79b1) ^ Math.imul(offset | 0, 0x85eb_ca6b)) >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export class Model {
  readonly #seed: number
  readonly #isKeyed: boolean

  /** @param isKeyed the compacted topic: records have one of `KEYS` keys, and some are tombstones */
  constructor(seed: number, isKeyed: boolean) {
    this.#seed = seed
    this.#isKeyed = isKeyed
  }

  /** The key of a record of the compacted topic. */
  keyAt(partition: number, offset: number): number {
    return mix(this.#seed + 1, partition, offset) % KEYS
  }

  recordAt(partition: number, offset: number): ModelRecord {
    const random = mix(this.#seed, partition, offset)
    const timestamp = FIRST_TIMESTAMP + offset
    const key = this.#isKeyed ? Buffer.from(`key-${this.keyAt(partition, offset)}`) : null
    if (this.#isKeyed && random % TOMBSTONE_EVERY === 0) return { key, value: null, timestamp }
    const value = Buffer.alloc(HEAD_BYTES + (random % TAIL_BYTES_MAX), random & 0xff)
    value.writeBigUInt64BE(BigInt(offset))
    value.writeUInt32BE(partition, 8)
    return { key, value, timestamp }
  }

  /** What is wrong with a record that was read; undefined when it is the one that was appended there. */
  fault({ partition, offset, key, value, timestamp }: ConsumedRecord): string | undefined {
    const expected = this.recordAt(partition, offset)
    if (timestamp !== expected.timestamp) return `timestamp ${timestamp} instead of ${expected.timestamp}`
    if (!same(key, expected.key)) return 'another key'
    return same(value, expected.value) ? undefined : 'another value'
  }
}

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}
