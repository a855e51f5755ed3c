/**
 * Hostile bytes: random ones, sound batches with damage, and damage behind a CRC that fits. Whatever comes in, the check
 * and the cursor end, throw nothing but `MillraceError`, and read nothing outside the batch. To see the last, every input is
 * read three times between different guards and must give the same answer each time.
 */
import { expect, test } from 'vitest'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { RecordCursor } from '../../../engine/format/record.ts'
import { BATCH, batchBytes, checkBatch, encodeBatch, stampCrc } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { CODECS } from './records.ts'

const GUARD_BYTES = 64
const INPUT_BYTES_MAX = 2048
/** In `npm test` a tenth of what `npm run test:faults` has. */
const SHARE = process.env['MILLRACE_FAULTS'] === 'all' ? 1 : 0.1
const INPUTS = 100_000 * SHARE
const UNCHECKED_INPUTS = 20_000 * SHARE
/** Of all inputs, on a machine that is busy with something else. */
const TIMEOUT_MS = 300_000
const DECOMPRESSED_BYTES_MAX = 100_000

const seed = testSeed()
const random = new Random(seed)
const memory = new Region(new ArrayBuffer(INPUT_BYTES_MAX + 2 * GUARD_BYTES))
const cursor = new RecordCursor()

/** A sound batch of a few records of all kinds. */
function soundBatch(): Buffer {
  const payload = () =>
    random.chance(0.2) ? null : random.bytes(random.pick([0, 1, 8, 20, 63, 64, 100])).fill(random.below(4))
  const records = Array.from({ length: random.between(1, 6) }, () => ({
    timestamp: 1_700_000_000_000 + random.below(random.pick([10, 1e5, 1e9])),
    key: payload(),
    value: payload(),
    headers: random.chance(0.7) ? [] : [{ key: random.pick(['', 'h', 'é']), value: payload() }],
  }))
  return Buffer.from(encodeBatch(records, { codec: random.pick(CODECS), producerId: random.between(-1, 5) }).bytes)
}

const batches = Array.from({ length: 300 }, soundBatch)
const interestingBytes = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xfe, 0xff]

function damage(bytes: Buffer): Buffer {
  // Mostly in the records, or behind the header that says what they are.
  const anywhere = () => random.below(bytes.length)
  const inRecords = () =>
    Math.min(bytes.length - 1, BATCH.headerBytes + random.below(Math.max(1, bytes.length - BATCH.headerBytes)))
  for (let i = random.between(1, 4); i > 0; i--) {
    const at = random.chance(0.6) ? inRecords() : anywhere()
    if (random.chance(0.3)) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
    else if (random.chance(0.5)) bytes[at] = random.pick(interestingBytes)
    else bytes.fill(random.pick(interestingBytes), at, Math.min(bytes.length, at + random.between(1, 6)))
  }
  return bytes
}

function input(): Buffer {
  if (random.chance(0.05)) return Buffer.from(random.bytes(random.below(200)))
  let bytes = Buffer.from(random.pick(batches))
  const shape = random.below(10)
  if (shape === 0) bytes = bytes.subarray(0, random.below(bytes.length))
  else if (shape === 1) bytes = Buffer.concat([bytes, random.bytes(random.below(40))])
  if (bytes.length > 0 && random.chance(0.9)) damage(bytes)
  // A length that fits again, so that what follows it is looked at, and a CRC that fits.
  if (bytes.length >= BATCH.headerBytes && random.chance(0.5)) {
    bytes.writeInt32BE(bytes.length - BATCH.overheadBytes, BATCH.batchLengthAt)
    bytes[BATCH.magicAt] = 2
    if (random.chance(0.5)) stampCrc(Region.of(bytes), 0)
  }
  return bytes.subarray(0, INPUT_BYTES_MAX)
}

/** Everything that can be asked about the bytes at `at`, as text. */
function answer(region: Region, at: number, end: number): string {
  const facts: unknown[] = [checkBatch(region, at, end), checkBatch(region, at, end, false)]
  if (facts[1] !== undefined) return JSON.stringify(facts)
  const batchEnd = at + batchBytes(region.view, at)
  try {
    cursor.reset(region, at, DECOMPRESSED_BYTES_MAX)
    for (let count = 0; cursor.next(); count++) {
      if (count > DECOMPRESSED_BYTES_MAX) throw new Error('more records than bytes')
      const key = cursor.key()
      const value = cursor.value()
      for (const view of [key, value]) {
        if (view?.buffer !== region.bytes.buffer) continue
        if (view.byteOffset < at + BATCH.headerBytes || view.byteOffset + view.length > batchEnd)
          throw new Error('outside')
      }
      if (!Number.isSafeInteger(cursor.offset) || !Number.isSafeInteger(cursor.timestamp))
        throw new Error('not a safe integer')
      facts.push(
        cursor.offset,
        cursor.timestamp,
        cursor.keyBytes,
        key?.at(-1),
        cursor.valueBytes,
        value?.at(-1),
        cursor.headerCount,
      )
      facts.push(cursor.headers().map(header => [header.key, header.value?.length]))
    }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    facts.push(error.code, error.details)
  }
  return JSON.stringify(facts)
}

test(`any bytes at all (seed ${seed})`, { timeout: TIMEOUT_MS }, () => {
  let sound = 0
  let read = 0
  let refused = 0
  for (let i = 0; i < INPUTS; i++) {
    const bytes = input()
    const at = GUARD_BYTES
    const end = at + bytes.length
    let first: string | undefined
    for (const guard of [0x00, 0xff, 0x81]) {
      memory.bytes.fill(guard, 0, at)
      memory.bytes.fill(guard, end, end + GUARD_BYTES)
      memory.bytes.set(bytes, at)
      // The same bytes at the very end of a region as well: there the view itself guards.
      const region = guard === 0x81 ? new Region(memory.bytes.buffer, memory.bytes.byteOffset, end) : memory
      try {
        const facts = answer(region, at, end)
        first ??= facts
        if (facts !== first) expect(facts).toBe(first)
      } catch (error) {
        throw new Error(`input ${i}: ${bytes.toString('hex')}`, { cause: error })
      }
    }
    if (first?.startsWith('[null')) sound++
    if (first?.startsWith('[null,null')) first.includes('CORRUPT') ? refused++ : read++
  }
  // The inputs reach all the way: enough pass the check, and of those some are read and some are refused.
  expect(sound).toBeGreaterThan(INPUTS / 20)
  expect(read).toBeGreaterThan(INPUTS / 50)
  expect(refused).toBeGreaterThan(INPUTS / 50)
})

test('the cursor on the same bytes without a check before it', { timeout: TIMEOUT_MS }, () => {
  for (let i = 0; i < UNCHECKED_INPUTS; i++) {
    const region = Region.of(input())
    try {
      cursor.reset(region, 0, DECOMPRESSED_BYTES_MAX)
      cursor.seekTimestamp(1_700_000_000_000 + random.below(1e9))
      cursor.seekOffset(random.below(10))
    } catch (error) {
      if (!isMillraceError(error)) throw new Error(`seed ${seed}, input ${i}`, { cause: error })
    }
  }
})
