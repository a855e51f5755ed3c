/**
 * Damage at rest: one byte of a batch in a closed segment is changed while nobody has the directory open. Reading reports it with file and
 * position, never returns a wrong record, and goes on behind it; so do look-ups. Every byte of the header and a sample of all
 * others is changed; many batches at once, with sound ones between them.
 *
 * The leader epoch (bytes 12 to 15) is the one field that no checksum covers and no reader looks at: records behind it are right.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Codec, isMillraceError, Millrace, type MillraceError } from '../../client/index.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { BATCH, baseOffsetOf, batchBytes, lastOffsetOf, Region, segmentFileName } from '../../engine/format/index.ts'
import { faultOf, keyOf, recordOf, streamOf } from './support/records.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const TOPIC = 'events'
const STREAM = streamOf({ run: 0, producer: 'corruption', topic: TOPIC, partition: 0 })
const CODECS: readonly Codec[] = ['none', 'none', 'gzip', 'snappy', 'lz4', 'zstd']
const SEGMENT_BYTES = 65_536
const INTERVAL_BYTES = 4_096
const SENDS = 400
const ROUNDS = 25
/** Each of so many rounds has an engine with its threads; the others look at the directory, which starts none. */
const OWNED_EVERY = process.env['MILLRACE_FAULTS'] === 'all' ? 1 : 6

const seed = testSeed()

interface StoredBatch {
  readonly path: string
  readonly position: number
  readonly bytes: number
  readonly baseOffset: number
  readonly nextOffset: number
}

interface Damage extends StoredBatch {
  readonly byte: number
  readonly mask: number
}

/** A closed directory with one partition of several segments; record `n` is at offset `n`. */
async function makeDirectory(random: Random): Promise<string> {
  const directory = join(temporaryDirectory('corruption'), 'data')
  const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  const config = { 'segment.bytes': SEGMENT_BYTES, 'index.interval.bytes': INTERVAL_BYTES, 'retention.ms': -1 }
  await engine.admin.createTopic({ topic: TOPIC, config })
  let number = 0
  for (const compression of CODECS) {
    const producer = await engine.producer({ compression, batchBytes: 16_384 })
    for (let sent = 0; sent < SENDS / CODECS.length; sent++) {
      const messages = Array.from({ length: random.between(1, 12) }, () => recordOf(keyOf(STREAM, number++)))
      await producer.send({ topic: TOPIC, messages })
    }
    await producer.close()
  }
  await engine.close()
  return directory
}

/** The batches of all segments but the last. */
async function closedBatches(directory: string): Promise<StoredBatch[]> {
  const batches: StoredBatch[] = []
  let base = 0
  for (;;) {
    const path = join(directory, `${TOPIC}-0`, segmentFileName(base, 'log'))
    const region = Region.of(readFileSync(path))
    const found: StoredBatch[] = []
    for (let position = 0; position < region.length; ) {
      const { view } = region
      const bytes = batchBytes(view, position)
      const nextOffset = lastOffsetOf(view, position) + 1
      found.push({ path, position, bytes, baseOffset: baseOffsetOf(view, position), nextOffset })
      position += bytes
    }
    base = found.at(-1)?.nextOffset ?? base
    try {
      closeSync(openSync(join(directory, `${TOPIC}-0`, segmentFileName(base, 'log')), 'r'))
    } catch {
      return batches // that was the active segment
    }
    batches.push(...found)
  }
}

/** Changes a byte in some of the batches, with two sound ones between: alone among damage a batch cannot prove its offset. */
function chooseDamages(batches: readonly StoredBatch[], random: Random, round: number): Damage[] {
  const damages: Damage[] = []
  for (let index = random.below(4); index < batches.length; index += random.between(3, 8)) {
    const batch = batches[index] as StoredBatch
    // Each header byte in turn, and as many others.
    const header = (round * 37 + index) % (2 * BATCH.headerBytes)
    const byte = header < BATCH.headerBytes ? header : random.between(BATCH.headerBytes, batch.bytes - 1)
    damages.push({ ...batch, byte, mask: random.chance(0.5) ? 1 << random.below(8) : random.between(1, 255) })
  }
  return damages
}

/** Flips the bytes of all damages; done twice it undoes itself. */
function flip(damages: readonly Damage[]): void {
  for (const { path, position, byte, mask } of damages) {
    const fd = openSync(path, 'r+')
    const content = readFileSync(path)
    writeSync(fd, Buffer.of((content[position + byte] as number) ^ mask), 0, 1, position + byte)
    closeSync(fd)
  }
}

const isEpoch = ({ byte }: Damage): boolean => byte >= BATCH.partitionLeaderEpochAt && byte < BATCH.magicAt

interface Walk {
  readonly offsets: Set<number>
  readonly errors: MillraceError[]
  readonly faults: string[]
}

/** Reads everything, going on behind each error where it says. */
async function walk(engine: Millrace, endOffset: number): Promise<Walk> {
  const result: Walk = { offsets: new Set(), errors: [], faults: [] }
  for (let from = 0; from < endOffset; ) {
    try {
      for await (const batch of engine.reader({ topic: TOPIC, from: { offset: from } })) {
        for (const record of batch) {
          const key = Buffer.from(record.key ?? []).toString('latin1')
          const fault = key === keyOf(STREAM, record.offset) ? faultOf(record) : `it has key ${key}`
          if (fault !== undefined) result.faults.push(`offset ${record.offset}: ${fault}`)
          result.offsets.add(record.offset)
        }
        from = batch.nextOffset
      }
      if (from < endOffset) result.faults.push(`reading ended at ${from} of ${endOffset}`)
      return result
    } catch (error) {
      if (!isMillraceError(error)) throw error
      result.errors.push(error)
      const next = error.details['nextOffset']
      if (typeof next !== 'number' || next <= from) {
        result.faults.push(`from ${from}: no way on behind ${error.message}`)
        return result
      }
      from = next
    }
  }
  return result
}

function checkWalk({ offsets, errors, faults }: Walk, damages: readonly Damage[], endOffset: number): string[] {
  const all = [...faults]
  const reported = new Set(errors.map(({ code, details }) => `${code} ${details['path']} ${details['position']}`))
  const damaged = new Set<number>()
  for (const damage of damages) {
    const { path, position, byte, baseOffset, nextOffset } = damage
    const where = `byte ${byte} of the batch at ${position}`
    if (isEpoch(damage)) continue
    for (let offset = baseOffset; offset < nextOffset; offset++) {
      damaged.add(offset)
      if (offsets.has(offset)) all.push(`${where}: offset ${offset} was read`)
    }
    if (!reported.has(`CORRUPT_BATCH ${path} ${position}`)) all.push(`${where} (${path}) was not reported`)
  }
  for (let offset = 0; offset < endOffset; offset++) {
    if (!damaged.has(offset) && !offsets.has(offset)) all.push(`offset ${offset} was cut off`)
  }
  return all
}

/** Look-ups around each damage: it is reported for what is in it, and what is behind it is found. */
async function checkLookups(
  engine: Millrace,
  damages: readonly Damage[],
  batches: readonly StoredBatch[],
): Promise<string[]> {
  const faults: string[] = []
  const lookup = await engine.lookup(TOPIC)
  for (const damage of damages) {
    const { path, position, byte, baseOffset, nextOffset } = damage
    const where = `byte ${byte} of the batch at ${position} of ${path}`
    try {
      const found = lookup.byOffset(0, baseOffset)
      const right = found?.offset === baseOffset && faultOf(found) === undefined
      if (!isEpoch(damage)) faults.push(`${where}: offset ${baseOffset} was found`)
      else if (!right) faults.push(`${where}: offset ${baseOffset} finds ${found?.offset}`)
    } catch (error) {
      if (!isMillraceError(error, 'CORRUPT_BATCH')) throw error
      const { details } = error
      if (details['path'] !== path || details['position'] !== position) faults.push(`${where}: ${error.message}`)
    }
    if (!batches.some(({ baseOffset: base }) => base === nextOffset)) continue
    try {
      const behind = lookup.byOffset(0, nextOffset)
      if (behind?.offset !== nextOffset || faultOf(behind) !== undefined)
        faults.push(`${where}: ${nextOffset} finds ${behind?.offset}`)
    } catch (error) {
      faults.push(`${where}: ${nextOffset} behind it: ${error}`)
    }
  }
  lookup.close()
  return faults
}

test('every changed byte of a batch is reported, and what follows is read', { timeout: 120_000 }, async () => {
  const random = new Random(seed)
  const directory = await makeDirectory(random)
  const batches = await closedBatches(directory)
  const headerBytes = new Set<number>()
  expect(batches.length).toBeGreaterThan(100)
  for (let round = 0; round < ROUNDS; round++) {
    const damages = chooseDamages(batches, random, round)
    for (const { byte } of damages) if (byte < BATCH.headerBytes) headerBytes.add(byte)
    flip(damages)
    const options = round % OWNED_EVERY === 0 ? { writers: 1, jobThreads: 1 } : { readOnly: true }
    const engine = await Millrace.open(directory, options)
    try {
      const lookup = await engine.lookup(TOPIC)
      const endOffset = lookup.latest(0)
      lookup.close()
      const faults = checkWalk(await walk(engine, endOffset), damages, endOffset)
      expect(faults.slice(0, 10), `seed ${seed}, round ${round}`).toEqual([])
      expect(
        (await checkLookups(engine, damages, batches)).slice(0, 10),
        `look-ups; seed ${seed}, round ${round}`,
      ).toEqual([])
    } finally {
      await engine.close()
      flip(damages)
    }
  }
  expect(headerBytes.size, 'every byte of the header was changed').toBe(BATCH.headerBytes)
})
