/** Damage in a closed segment: detected on reading, reported with file and position, and what follows stays readable. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { isMillraceError, type MillraceError } from '../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { BATCH, batchBytes } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'

const RECORDS_PER_BATCH = 20
const BATCHES = 60
const SAMPLES = 60
/** Bytes of a batch that its CRC does not cover, and that the log's own order checks instead: offset and leader epoch. */
const UNCOVERED = new Set([0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15])

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-damage-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

function flip(path: string, position: number, mask: number): void {
  const fd = openSync(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    readSync(fd, byte, 0, 1, position)
    byte[0] = (byte[0] as number) ^ mask
    writeSync(fd, byte, 0, 1, position)
  } finally {
    closeSync(fd)
  }
}

/** Offsets that can be read, going on behind each damage as its error says, and the errors. */
async function readAround(engine: Millrace): Promise<{ offsets: number[]; errors: MillraceError[] }> {
  const offsets: number[] = []
  const errors: MillraceError[] = []
  let offset = 0
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      for await (const batch of engine.reader({ topic: 't', from: { offset } })) {
        for (const record of batch) offsets.push(record.offset)
        offset = batch.nextOffset
      }
      return { offsets, errors }
    } catch (error) {
      if (!isMillraceError(error, 'CORRUPT_BATCH')) throw error
      errors.push(error)
      const next = error.details['nextOffset']
      // Without a length that can be trusted the reader cannot tell where the next batch begins; the next offset can.
      offset = typeof next === 'number' ? next : offset + RECORDS_PER_BATCH
    }
  }
  return { offsets, errors }
}

describe('damage in a closed segment', () => {
  test('every flipped byte is found, with file and position, and the records behind it are read', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    {
      await using engine = await Millrace.open(directory)
      await engine.admin.createTopic({ topic: 't', config: { 'segment.bytes': 32_768, 'index.interval.bytes': 0 } })
      await using producer = await engine.producer()
      for (let batch = 0; batch < BATCHES; batch++) {
        const messages = Array.from({ length: RECORDS_PER_BATCH }, () => ({ value: random.bytes(80) }))
        await producer.send({ topic: 't', messages })
      }
      const described = await engine.admin.describeTopic('t')
      expect(described.partitions[0]?.segments).toBeGreaterThan(2)
    }
    const path = join(directory, 't-0', '00000000000000000000.log')
    const head = Buffer.alloc(BATCH.headerBytes)
    const fd = openSync(path, 'r')
    readSync(fd, head, 0, head.length, 0)
    closeSync(fd)
    const bytes = batchBytes(Region.of(head).view, 0)
    const victim = 2 // the third batch: something before it and something behind it
    for (let sample = 0; sample < SAMPLES; sample++) {
      const within = sample < BATCH.headerBytes ? sample : random.below(bytes)
      if (UNCOVERED.has(within)) continue
      const mask = 1 << random.below(8)
      const position = victim * bytes + within
      flip(path, position, mask)
      try {
        await using engine = await Millrace.open(directory, { readOnly: true })
        const { offsets, errors } = await readAround(engine)
        const note = `seed ${seed}, byte ${within} mask ${mask}`
        expect(errors.length, note).toBe(1)
        expect(errors[0]?.details['path'], note).toBe(path)
        expect(errors[0]?.details['position'], note).toBe(victim * bytes)
        const damaged = new Set(Array.from({ length: RECORDS_PER_BATCH }, (_, i) => victim * RECORDS_PER_BATCH + i))
        const sound = Array.from({ length: BATCHES * RECORDS_PER_BATCH }, (_, i) => i).filter(i => !damaged.has(i))
        expect(offsets, note).toEqual(sound)
      } finally {
        flip(path, position, mask)
      }
    }
  })
})
