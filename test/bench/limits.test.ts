import { closeSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copyChunks, makeChunks } from '../../bench/limits/copy.ts'
import { checksumPieces } from '../../bench/limits/crc.ts'
import { fillBatches } from '../../bench/limits/encode.ts'
import { syncWrites, writtenFile } from '../../bench/limits/fdatasync.ts'
import { findRecord, makeLookupLog, randomTargets } from '../../bench/limits/lookup.ts'
import { RoundTrip } from '../../bench/limits/round-trip.ts'
import { Scratch } from '../../bench/limits/scratch.ts'
import { makeValues, timestampOf, VALUE_COUNT } from '../../bench/limits/values.ts'
import { KEPT, viewRecords, walkRecords } from '../../bench/limits/walk.ts'

const BYTES = 2 * 1024 * 1024

let directory: string
let scratch: Scratch

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-limits-'))
  scratch = new Scratch(directory, BYTES)
})

afterAll(() => {
  scratch.close()
  rmSync(directory, { recursive: true, force: true })
})

/** CRC-32C bit by bit (Castagnoli, reflected), to check the native one and where it is taken. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0)
  }
  return (crc ^ 0xffff_ffff) >>> 0
}

function readVarint(bytes: Uint8Array, at: number): { value: number; next: number } {
  let raw = 0n
  let shift = 0n
  let next = at
  for (;;) {
    const byte = bytes[next++] as number
    raw |= BigInt(byte & 0x7f) << shift
    shift += 7n
    if (byte < 0x80) break
  }
  return { value: Number((raw >> 1n) ^ -(raw & 1n)), next }
}

interface PlainRecord {
  timestamp: number
  offset: number
  value: Buffer
  valueAt: number
}

/** A plain decoder of everything in `[0, end)`, which checks the header fields on its way. */
function decode(end: number): PlainRecord[] {
  const { bytes, view } = scratch
  const records: PlainRecord[] = []
  for (let at = 0; at < end; ) {
    const baseOffset = Number(view.getBigInt64(at))
    const batchEnd = at + 12 + view.getInt32(at + 8)
    const count = view.getInt32(at + 57)
    expect(baseOffset).toBe(records.length)
    expect(view.getInt8(at + 16)).toBe(2)
    expect(view.getUint32(at + 17)).toBe(slowCrc32c(bytes.subarray(at + 21, batchEnd)))
    expect(view.getInt16(at + 21)).toBe(0)
    expect(view.getInt32(at + 23)).toBe(count - 1)
    expect(view.getBigInt64(at + 43)).toBe(-1n)
    expect(view.getInt16(at + 51)).toBe(-1)
    expect(view.getInt32(at + 53)).toBe(-1)
    const baseTimestamp = Number(view.getBigInt64(at + 27))
    let position = at + 61
    for (let i = 0; i < count; i++) {
      const length = readVarint(bytes, position)
      const timestampDelta = readVarint(bytes, length.next + 1)
      const offsetDelta = readVarint(bytes, timestampDelta.next)
      const key = readVarint(bytes, offsetDelta.next)
      const value = readVarint(bytes, key.next)
      expect([bytes[length.next], key.value, bytes[value.next + value.value]]).toEqual([0, -1, 0])
      records.push({
        timestamp: baseTimestamp + timestampDelta.value,
        offset: baseOffset + offsetDelta.value,
        value: bytes.subarray(value.next, value.next + value.value),
        valueAt: value.next,
      })
      position = length.next + length.value
    }
    expect(position).toBe(batchEnd)
    expect(Number(view.getBigInt64(at + 35))).toBe(records.at(-1)?.timestamp)
    at = batchEnd
  }
  return records
}

describe('encode limit', () => {
  it.each([
    [10, 4096],
    [100, 16 * 1024],
    [100, 64 * 1024],
    [1024, 64 * 1024],
    [40_000, 64 * 1024],
  ])('writes sound batches of records of %i bytes, %i bytes a batch', (valueBytes, batchBytes) => {
    const values = makeValues(valueBytes)
    const filled = fillBatches(scratch, values, 256 * 1024, batchBytes)
    const records = decode(filled.end)
    expect(filled.end).toBeLessThanOrEqual(256 * 1024)
    expect(records.length).toBe(filled.records)
    records.forEach((record, n) => {
      expect(record.offset).toBe(n)
      expect(record.timestamp).toBe(timestampOf(n))
      expect(record.value.equals(values[n % VALUE_COUNT] as Uint8Array)).toBe(true)
    })
  })

  it('fills batches as far as a record fits', () => {
    const { batches, records, end } = fillBatches(scratch, makeValues(100), BYTES, 64 * 1024)
    expect(end / batches).toBeGreaterThan(64 * 1024 - 120)
    expect(records / batches).toBeGreaterThan(580)
  })

  it('refuses a record that no batch can hold, instead of looping', () => {
    expect(() => fillBatches(scratch, makeValues(5000), BYTES, 4096)).toThrow(RangeError)
  })
})

describe('walk limits', () => {
  it('reads every field of every record', () => {
    const { end } = fillBatches(scratch, makeValues(100), BYTES)
    const records = decode(end)
    const sums = walkRecords(scratch, end)
    let timestampDeltas = 0
    let offsetDeltas = 0
    for (let at = 0; at < end; at += 12 + scratch.view.getInt32(at + 8)) {
      const first = Number(scratch.view.getBigInt64(at))
      for (let i = 0; i < scratch.view.getInt32(at + 57); i++) {
        offsetDeltas += i
        timestampDeltas += timestampOf(first + i) - timestampOf(first)
      }
    }
    expect(sums).toEqual({
      records: records.length,
      valueBytes: records.length * 100,
      keyBytes: -records.length,
      timestampDeltas,
      offsetDeltas,
    })
  })

  it('makes a view on the value of each record', () => {
    const values = makeValues(100)
    const { batches, records, end } = fillBatches(scratch, values, 64 * 1024)
    const kept: Uint8Array[] = new Array(KEPT).fill(new Uint8Array(0))
    expect(viewRecords(scratch, end, kept)).toBe(records)
    expect(batches).toBe(1)
    for (let i = 0; i < records; i++) {
      expect(Buffer.from(kept[i] as Uint8Array).equals(values[i % VALUE_COUNT] as Uint8Array)).toBe(true)
      expect(kept[i]?.buffer).toBe(scratch.view.buffer)
    }
  })
})

describe('lookup limit', () => {
  it('finds every record', () => {
    const log = makeLookupLog(scratch, 100, 16 * 1024, 512 * 1024)
    const records = decode(endOf(log.entries))
    expect(log.records).toBe(records.length)
    for (const { offset, valueAt } of records) expect(findRecord(log, offset)).toBe(valueAt)
    expect(findRecord(log, records.length)).toBe(-1)
  })

  it('takes targets from the whole log', () => {
    const targets = randomTargets(1000, 20_000)
    expect(new Set(targets).size).toBe(1000)
    expect(Math.max(...targets)).toBe(999)
  })

  function endOf(batches: number): number {
    let at = 0
    for (let i = 0; i < batches; i++) at += 12 + scratch.view.getInt32(at + 8)
    return at
  }
})

describe('copy limit', () => {
  it('copies whole chunks, one behind the other', () => {
    const chunks = makeChunks(4096)
    const end = copyChunks(scratch, chunks, 100 * 4096 + 17)
    expect(end).toBe(100 * 4096)
    for (let i = 0; i < 100; i++) {
      const copy = scratch.bytes.subarray(i * 4096, (i + 1) * 4096)
      expect(copy.equals(chunks[i % chunks.length] as Uint8Array)).toBe(true)
    }
  })
})

describe('CRC limit', () => {
  it('checks every piece, the short last one too', () => {
    copyChunks(scratch, makeChunks(4096), 64 * 1024)
    const end = 10 * 4096 + 5
    let expected = 0
    for (let at = 0; at < end; at += 4096) expected ^= slowCrc32c(scratch.bytes.subarray(at, Math.min(at + 4096, end)))
    expect(checksumPieces(scratch.bytes, end, 4096)).toBe(expected >>> 0)
  })
})

describe('fdatasync limit', () => {
  it('writes over what is there and moves on', () => {
    const path = join(directory, 'synced')
    const fd = writtenFile(path)
    try {
      const before = readFileSync(path)
      const next = syncWrites(fd, 3)
      const after = readFileSync(path)
      expect(next).toBe(3 * 4096)
      expect(after.length).toBe(before.length)
      expect(after.subarray(next).equals(before.subarray(next))).toBe(true)
      expect([0, 1, 2].map(block => after.readInt32LE(block * 4096))).toEqual([0, 1, 2])
      expect(syncWrites(fd, 1, before.length - 4096)).toBe(0)
    } finally {
      closeSync(fd)
    }
  })
})

describe('round-trip limit', () => {
  it('gets a reply to every request and ends its worker', async () => {
    const roundTrip = new RoundTrip()
    for (let i = 0; i < 100; i++) expect(await roundTrip.once()).toBeGreaterThan(0)
    await roundTrip.close()
  })
})

describe('scratch', () => {
  it('keeps what was written when it is prefaulted again', () => {
    scratch.bytes.fill(7, 0, 20_000)
    scratch.prefault(5000, 15_000)
    expect(scratch.bytes.subarray(0, 20_000).every(byte => byte === 7)).toBe(true)
  })

  it('says so when the disk has no room, before it touches anything', () => {
    expect(() => new Scratch(directory, 2 ** 52)).toThrow(/has no room/)
  })
})
