import { expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { BATCH } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { scanSegment } from '../../../engine/log/segment-scan.ts'
import { type ModelBatch, makeBatch, makeLog, modelEpochs } from './recovery-fixture.ts'

const random = new Random(testSeed())
const seed = `MILLRACE_SEED=${random.seed}`

function bytesOf(batches: readonly ModelBatch[], tailBytes = 0): Buffer {
  return Buffer.concat([...batches.map(({ bytes }) => bytes), Buffer.alloc(tailBytes)])
}

function chain(parts: readonly { offset: number; records?: number; epoch?: number }[]): {
  bytes: Buffer
  positions: number[]
} {
  const positions: number[] = []
  const batches: ModelBatch[] = []
  let position = 0
  for (const { offset, records = 2, epoch = 0 } of parts) {
    const batch = makeBatch(random, { position, baseOffset: offset, epoch, records })
    positions.push(position)
    position += batch.bytes.length
    batches.push(batch)
  }
  return { bytes: bytesOf(batches), positions }
}

test('a sound log is walked to its end, with or without zeros behind it', () => {
  for (let round = 0; round < 50; round++) {
    const [segment] = makeLog(random, 1)
    if (segment === undefined) throw new Error('no segment')
    const { baseOffset, batches } = segment
    const tailBytes = random.pick([0, 1, 5, 11, 12, 17, 60, 61, 5_000])
    const bytes = bytesOf(batches, tailBytes)
    const seen: number[] = []
    const checkCrc = random.chance(0.5)
    const scan = scanSegment(Region.of(bytes), 0, bytes.length, {
      baseOffset,
      checkCrc,
      gapless: true,
      visit: position => seen.push(position),
    })
    expect(scan.fault, seed).toBeUndefined()
    expect(scan.end).toBe(bytes.length - tailBytes)
    expect(scan.nextOffset).toBe((batches.at(-1) as ModelBatch).lastOffset + 1)
    expect(scan.batches).toBe(batches.length)
    expect(seen).toEqual(batches.map(({ position }) => position))
    const maxTimestamp = Math.max(...batches.map(batch => batch.maxTimestamp))
    expect(scan.maxTimestamp).toBe(maxTimestamp)
    expect(scan.maxTimestampOffset).toBe(batches.find(batch => batch.maxTimestamp === maxTimestamp)?.lastOffset)
    expect(scan.firstTimestamp).toBe(batches[0]?.baseTimestamp)
    expect(scan.epochs).toEqual(modelEpochs([segment]))
    expect(scan.lastEpoch).toBe(batches.at(-1)?.epoch)
  }
})

test('every flipped byte that the CRC covers, and every one of the offset, is found at its batch', () => {
  const { bytes, positions } = chain([{ offset: 10 }, { offset: 12 }, { offset: 14 }])
  const at = positions[1] as number
  const end = positions[2] as number
  for (let i = at; i < end; i++) {
    if (i >= at + BATCH.partitionLeaderEpochAt && i < at + BATCH.magicAt) continue // see the test of epochs
    const damaged = Buffer.from(bytes)
    damaged[i] = (damaged[i] as number) ^ (1 << random.below(8))
    const scan = scanSegment(Region.of(damaged), 0, damaged.length, { baseOffset: 10, gapless: true })
    expect(scan.end, `byte ${i - at} of the batch, ${seed}`).toBe(at)
    expect(scan.nextOffset).toBe(12)
    if (damaged.readInt32BE(at + BATCH.batchLengthAt) !== 0) expect(scan.fault?.position).toBe(at)
  }
})

test('zeros end the log, whatever is behind them', () => {
  const { bytes, positions } = chain([{ offset: 0 }, { offset: 2 }, { offset: 4 }])
  const [, second, third] = positions as [number, number, number]
  bytes.fill(0, second, third)
  const scan = scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0 })
  expect(scan).toMatchObject({ end: second, nextOffset: 2, fault: undefined })
})

test('offsets that go back, jump, or leave the segment', () => {
  const scan = (parts: Parameters<typeof chain>[0], more: { baseOffset?: number; gapless?: boolean } = {}) => {
    const { bytes, positions } = chain(parts)
    const found = scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0, ...more })
    return { reason: found.fault?.reason, batch: positions.indexOf(found.fault?.position ?? -1) }
  }
  expect(scan([{ offset: 5 }, { offset: 6 }])).toEqual({ reason: 'order', batch: 1 })
  expect(scan([{ offset: 5 }], { baseOffset: 6 })).toEqual({ reason: 'order', batch: 0 })
  expect(scan([{ offset: 0 }, { offset: 9 }])).toEqual({ reason: undefined, batch: -1 })
  expect(scan([{ offset: 0 }, { offset: 9 }], { gapless: true })).toEqual({ reason: 'gap', batch: 1 })
  expect(scan([{ offset: 1 }], { gapless: true })).toEqual({ reason: 'gap', batch: 0 })
  expect(scan([{ offset: 0xffff_fffe }])).toEqual({ reason: undefined, batch: -1 })
  expect(scan([{ offset: 0xffff_ffff }])).toEqual({ reason: 'range', batch: 0 })
})

test('leader epochs never decrease, and the batch before can be taken back', () => {
  const { bytes, positions } = chain([
    { offset: 0, epoch: 3 },
    { offset: 2, epoch: 900 },
    { offset: 4, epoch: 3 },
  ])
  const scan = scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0 })
  expect(scan.fault).toEqual({ position: positions[2], reason: 'epoch' })
  expect(scan.fitsInstead(4, 3)).toBe(true)
  expect(scan.fitsInstead(4, 2)).toBe(false)
  scan.takeLastBack()
  expect(scan).toMatchObject({ end: positions[1], nextOffset: 2, lastEpoch: 3, batches: 1 })
  expect(scan.epochs).toEqual([{ epoch: 3, startOffset: 0 }])
  scan.skipTo(positions[2] as number, 4, 3)
  scan.run(Region.of(bytes), bytes.length)
  expect(scan).toMatchObject({ end: bytes.length, nextOffset: 6, fault: undefined })
  expect(scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0, leaderEpoch: 4 }).fault).toEqual({
    position: 0,
    reason: 'epoch',
  })
})

test('a leader epoch that is no epoch is passed like any other, whatever came before', () => {
  for (const epochs of [[], [0], [0, 1]]) {
    const before = epochs.map((epoch, i) => ({ offset: i * 2, epoch }))
    const from = before.length * 2
    const { bytes, positions } = chain([
      ...before,
      { offset: from, epoch: -7 },
      { offset: from + 2, epoch: -2_000_000_000 },
      { offset: from + 4, epoch: 1 },
    ])
    const region = Region.of(bytes)
    const scan = scanSegment(region, 0, bytes.length, { baseOffset: 0 })
    const passed: (number | undefined)[] = []
    for (let faults = 0; scan.fault !== undefined && faults < 5; faults++) {
      const { position } = scan.fault
      passed.push(position)
      scan.skipTo(position, scan.nextOffset, region.view.getInt32(position + BATCH.partitionLeaderEpochAt))
      scan.run(region, bytes.length)
    }
    expect(passed).toEqual(positions.slice(before.length, -1))
    expect(scan).toMatchObject({ end: bytes.length, nextOffset: from + 6, fault: undefined })
    expect(scan.epochs).toEqual([{ epoch: 1, startOffset: from + 4 }])
    scan.takeLastBack()
    expect(scan).toMatchObject({ end: positions.at(-1), epochs: [] })
  }
})

test('a walk can stop in front of an offset', () => {
  const { bytes, positions } = chain([{ offset: 0 }, { offset: 2 }, { offset: 4 }])
  const until = (untilOffset: number) => scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0, untilOffset })
  expect(until(3)).toMatchObject({ end: positions[1], nextOffset: 2, fault: undefined })
  expect(until(4)).toMatchObject({ end: positions[2], nextOffset: 4, fault: undefined })
  expect(until(9)).toMatchObject({ end: bytes.length, nextOffset: 6, fault: undefined })
})

test('bytes of any kind are walked without a throw or a step outside', () => {
  for (let round = 0; round < 2_000; round++) {
    const bytes = Buffer.from(random.bytes(random.between(0, 200)))
    if (random.chance(0.5)) bytes.fill(0, 0, random.below(bytes.length + 1))
    if (bytes.length > BATCH.magicAt && random.chance(0.7)) bytes[BATCH.magicAt] = 2
    if (bytes.length > 12 && random.chance(0.7)) bytes.writeInt32BE(random.between(-1, 300), BATCH.batchLengthAt)
    const scan = scanSegment(Region.of(bytes), 0, bytes.length, { baseOffset: 0, checkCrc: random.chance(0.3) })
    expect(scan.end, seed).toBeLessThanOrEqual(bytes.length)
    if (scan.fault !== undefined) expect(scan.fault.position).toBe(scan.end)
  }
})
