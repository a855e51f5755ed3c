import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { isMillraceError } from '../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { batchBytes, Region, segmentFileName } from '../../../engine/format/index.ts'
import {
  joinSegments,
  type PartitionVerification,
  planFolder,
  type StoredPartition,
} from '../../../engine/log/verify-partition.ts'
import { isMissing, missingSegment, verifySegment } from '../../../engine/log/verify-segment.ts'
import { Store } from '../../../engine/store/store.ts'

const directory = mkdtempSync(join(tmpdir(), 'millrace-verify-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const RECORDS = 400

/** Verifies a partition as its store says that it was left, or what is said instead. */
function verify(topic: string, instead: Partial<StoredPartition> = {}): PartitionVerification {
  const plan = planFolder(join(directory, `${topic}-0`), { ...stored(topic), ...instead })
  const verified = plan.segments.map(segment => {
    try {
      return verifySegment(segment)
    } catch (error) {
      if (isMissing(error)) return missingSegment(segment)
      throw error
    }
  })
  return joinSegments(plan, verified)
}

const known = new Map<string, StoredPartition>()
const stored = (topic: string): StoredPartition => known.get(topic) as StoredPartition

const file = (topic: string, baseOffset: number, suffix: 'log' | 'index' | 'timeindex' = 'log'): string =>
  join(directory, `${topic}-0`, segmentFileName(baseOffset, suffix))

const basesOf = (topic: string): number[] =>
  readdirSync(join(directory, `${topic}-0`))
    .filter(name => name.endsWith('.log'))
    .map(name => Number(name.slice(0, 20)))
    .sort((a, b) => a - b)

/** Runs `check` with a file changed, and puts it back. */
function damaged(path: string, change: (bytes: Buffer) => Buffer, check: () => void): void {
  const before = readFileSync(path)
  writeFileSync(path, change(Buffer.from(before)))
  try {
    check()
  } finally {
    writeFileSync(path, before)
  }
}

/** Positions of the batches in a file. */
function positionsIn(path: string): number[] {
  const { view, length } = Region.of(readFileSync(path))
  const positions: number[] = []
  for (let at = 0; at < length; at += batchBytes(view, at)) positions.push(at)
  return positions
}

beforeAll(async () => {
  {
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    const config = { 'segment.bytes': 16_384, 'index.interval.bytes': 500, 'retention.ms': -1 }
    for (const [topic, compression] of [
      ['plain', 'none'],
      ['packed', 'zstd'],
    ] as const) {
      await engine.admin.createTopic({ topic, config })
      await using producer = await engine.producer({ compression, batchBytes: 1_024 })
      for (let i = 0; i < RECORDS; i += 4) {
        const messages = Array.from({ length: 4 }, (_, j) => ({
          key: `key-${(i + j) % 10}`,
          value: Buffer.alloc(60, `${i + j} `),
          timestamp: 1_000 + (((i + j) * 37) % 9_000),
          headers: j === 0 ? { source: 'test' } : {},
        }))
        await producer.send({ topic, messages })
      }
    }
  }
  const store = Store.open(directory, { readOnly: true })
  for (const { topic, topicId } of store.topics.list()) {
    const { recoveryPoint = 0, logStartOffset = 0, segments } = store.checkpoints.ofTopic(topicId).get(0) ?? {}
    known.set(topic, {
      isClean: true,
      recoveryPoint,
      logStartOffset,
      cleanedOffset: 0,
      compacts: false,
      ...(segments && { segments }),
    })
  }
  await store.close()
})

describe.each(['plain', 'packed'])('a sound partition, %s', topic => {
  test('has no findings, and all that is in it was read', () => {
    const result = verify(topic)
    expect(result.findings).toEqual([])
    expect(result).toMatchObject({ records: RECORDS, batches: RECORDS / 4, segments: basesOf(topic).length })
    const bytes = basesOf(topic).reduce((sum, base) => sum + statSync(file(topic, base)).size, 0)
    expect(result.logBytes).toBe(bytes)
    const entries = (base: number): number =>
      statSync(file(topic, base, 'index')).size / 8 + statSync(file(topic, base, 'timeindex')).size / 12
    expect(result.indexEntries).toBe(basesOf(topic).reduce((sum, base) => sum + entries(base), 0))
    expect(result.indexEntries).toBeGreaterThan(20)
  })

  test('is sound without what the store knows', () => {
    expect(verify(topic, { isClean: false, recoveryPoint: 0 }).findings).toEqual([])
  })
})

test('several segments are there', () => expect(basesOf('plain').length).toBeGreaterThan(2))

/** A place in a file; in a log every other one is in a header: a small part of it, and a large part of what can go wrong. */
function somewhere(random: Random, size: number, positions: readonly number[]): number {
  const inHeader = positions.length > 0 && random.chance(0.5)
  return inHeader ? (positions[random.below(positions.length)] as number) + random.below(61) : random.below(size)
}

describe('whatever is changed', () => {
  test.for([
    ['plain', 'log', 1],
    ['packed', 'log', 1],
    ['plain', 'log', 40],
    ['plain', 'index', 1],
    ['plain', 'timeindex', 1],
    ['plain', 'epochs', 1],
  ] as const)('it is found: %s %s, up to %i bytes', ([topic, kind, changesMax]) => {
    const seed = testSeed()
    const random = new Random(seed)
    for (let round = 0; round < 60; round++) {
      const base = basesOf(topic)[random.below(basesOf(topic).length)] as number
      const path =
        kind === 'epochs' ? join(directory, `${topic}-0`, 'leader-epoch-checkpoint') : file(topic, base, kind)
      const size = statSync(path).size
      if (size === 0) continue
      const positions = kind === 'log' ? positionsIn(path) : []
      const changes = new Map<number, number>()
      for (let left = 1 + random.below(changesMax); left > 0; left--) {
        changes.set(somewhere(random, size, positions), 1 + random.below(255))
      }
      damaged(
        path,
        bytes => {
          for (const [at, flip] of changes) bytes[at] = (bytes[at] as number) ^ flip
          return bytes
        },
        () => {
          const { findings } = verify(topic)
          const context = `MILLRACE_SEED=${seed}: ${path} ^ ${JSON.stringify([...changes])}`
          expect(findings.filter(({ severity }) => severity === 'damage').length, context).toBeGreaterThan(0)
        },
      )
    }
  })
})

describe('damage', () => {
  const base = (index: number): number => basesOf('plain').at(index) as number

  test('a batch with a wrong CRC: its offsets are lost, what follows is read', () => {
    const path = file('plain', base(1))
    const position = positionsIn(path)[2] as number
    damaged(
      path,
      bytes => {
        bytes[position + 70] = (bytes[position + 70] as number) ^ 1
        return bytes
      },
      () => {
        const result = verify('plain')
        const baseOffset = base(1) + 8
        const lost = { baseOffset, nextOffset: baseOffset + 4 }
        expect(result.findings).toEqual([
          { kind: 'batch', severity: 'damage', path, position, reason: expect.stringContaining('CRC-32C'), ...lost },
        ])
        expect(result.records).toBe(RECORDS - 4)
      },
    )
  })

  test('several batches are told one by one', () => {
    const path = file('plain', base(0))
    const chosen = [1, 4, 9].map(index => positionsIn(path)[index] as number)
    damaged(
      path,
      bytes => {
        for (const position of chosen) bytes[position + 100] = (bytes[position + 100] as number) ^ 1
        return bytes
      },
      () => expect(verify('plain').findings.map(({ position }) => position)).toEqual(chosen),
    )
  })

  test('a batch that lies about its leader epoch', () => {
    const path = file('plain', base(0))
    const position = positionsIn(path)[3] as number
    damaged(
      path,
      bytes => {
        bytes.writeInt32BE(7, position + 12)
        return bytes
      },
      () => expect(verify('plain').findings).toMatchObject([{ kind: 'epoch', path }]),
    )
  })

  test('leader epochs that are none, wherever they are, do not hold the walk up', () => {
    const path = file('plain', base(0))
    const positions = positionsIn(path)
    for (const chosen of [[0], [3], [0, 1], [2, 3, 4], positions.map((_, index) => index)]) {
      damaged(
        path,
        bytes => {
          for (const index of chosen) bytes.writeInt32BE(-9 - index, (positions[index] as number) + 12)
          return bytes
        },
        () => {
          const { findings, records } = verify('plain')
          const found = findings.filter(({ kind }) => kind === 'epoch').map(({ position }) => position)
          expect(found).toEqual(chosen.map(index => positions[index]))
          expect(records).toBe(RECORDS)
        },
      )
    }
  })

  test('a file that is cut', () => {
    const path = file('plain', base(-1))
    const end = positionsIn(path).at(-1) as number
    damaged(
      path,
      bytes => bytes.subarray(0, end),
      () => expect(verify('plain').findings).toMatchObject([{ position: end, nextOffset: RECORDS }]),
    )
    damaged(
      path,
      bytes => bytes.subarray(0, end + 30),
      () => expect(verify('plain').findings).toMatchObject([{ position: end, nextOffset: RECORDS }]),
    )
  })

  test('zeros in place of the end', () => {
    const path = file('plain', base(1))
    const at = positionsIn(path)[5] as number
    damaged(
      path,
      bytes => bytes.fill(0, at),
      () => expect(verify('plain').findings).toMatchObject([{ path, position: at, nextOffset: base(2) }]),
    )
  })

  test('bytes behind the end', () => {
    const path = file('plain', base(-1))
    const { size } = statSync(path)
    damaged(
      path,
      bytes => Buffer.concat([bytes, Buffer.from('scribble')]),
      () => expect(verify('plain').findings).toMatchObject([{ path, position: size }]),
    )
  })

  test('a segment that is missing', () => {
    const path = file('plain', base(1))
    const [lost, next] = [base(1), base(2)]
    renameSync(path, `${path}.away`)
    try {
      expect(verify('plain').findings).toMatchObject([
        { kind: 'file', path, baseOffset: lost, nextOffset: next, reason: 'the file is missing' },
      ])
      expect(verify('plain', { isClean: false, recoveryPoint: RECORDS }).findings).toMatchObject([
        { kind: 'gap', baseOffset: lost, nextOffset: next },
      ])
    } finally {
      renameSync(`${path}.away`, path)
    }
  })

  test('the last segment is missing', () => {
    const path = file('plain', base(-1))
    const lost = base(-1)
    renameSync(path, `${path}.away`)
    try {
      expect(verify('plain', { isClean: false, recoveryPoint: RECORDS }).findings).toMatchObject([
        { kind: 'gap', baseOffset: lost, nextOffset: RECORDS },
      ])
    } finally {
      renameSync(`${path}.away`, path)
    }
  })

  test('a segment under a wrong name', () => {
    const path = file('plain', base(-1))
    const wrong = file('plain', base(-1) - 1)
    renameSync(path, wrong)
    try {
      const found = verify('plain', { isClean: false, recoveryPoint: RECORDS }).findings
      expect(found.map(({ kind }) => kind)).toContain('batch')
    } finally {
      renameSync(wrong, path)
    }
    appendFileSync(join(directory, 'plain-0', '17.log'), '')
    expect(verify('plain').findings).toMatchObject([{ kind: 'file', reason: expect.stringContaining('20 digits') }])
    rmSync(join(directory, 'plain-0', '17.log'))
  })

  test('index files that are missing, cut, or have too much', () => {
    for (const suffix of ['index', 'timeindex'] as const) {
      const path = file('plain', base(0), suffix)
      const bytes = readFileSync(path)
      rmSync(path)
      expect(verify('plain').findings).toMatchObject([{ kind: 'index', path, reason: 'the file is missing' }])
      writeFileSync(path, bytes)
      truncateSync(path, bytes.length - 3)
      expect(verify('plain').findings[0]).toMatchObject({ kind: 'index', path })
      writeFileSync(path, bytes)
      expect(verify('plain').findings).toEqual([])
    }
  })

  test('an index of another segment', () => {
    damaged(
      file('plain', base(0), 'timeindex'),
      () => readFileSync(file('plain', base(1), 'timeindex')),
      () => expect(verify('plain').findings.length).toBeGreaterThan(0),
    )
  })

  test('a leader-epoch checkpoint that is missing or says something else', () => {
    const path = join(directory, 'plain-0', 'leader-epoch-checkpoint')
    for (const text of ['', '0\n0\n', '0\n1\n0 4\n', '0\n2\n0 0\n1 8\n']) {
      damaged(
        path,
        () => Buffer.from(text),
        () => expect(verify('plain').findings, JSON.stringify(text)).toMatchObject([{ kind: 'epoch', path }]),
      )
    }
  })
})

describe('after a crash', () => {
  test('what is torn above the recovery point is no damage', () => {
    const last = basesOf('plain').at(-1) as number
    const path = file('plain', last)
    const position = positionsIn(path).at(-2) as number
    const crashed = { isClean: false, recoveryPoint: last }
    damaged(
      path,
      bytes => {
        bytes[position + 80] = (bytes[position + 80] as number) ^ 1
        return Buffer.concat([bytes, Buffer.alloc(4_096)])
      },
      () => {
        expect(verify('plain', crashed).findings).toMatchObject([{ severity: 'torn', path, position }])
        expect(verify('plain', { ...crashed, recoveryPoint: RECORDS }).findings).toMatchObject([{ severity: 'damage' }])
      },
    )
  })

  test('zeros behind the end are not worth a word', () => {
    const last = basesOf('plain').at(-1) as number
    damaged(
      file('plain', last),
      bytes => Buffer.concat([bytes, Buffer.alloc(100_000)]),
      () => expect(verify('plain', { isClean: false, recoveryPoint: RECORDS }).findings).toEqual([]),
    )
  })
})

test('a compacted partition may lack offsets', async () => {
  const home = mkdtempSync(join(tmpdir(), 'millrace-verify-compact-'))
  try {
    const engine = await Millrace.open(home, { writers: 1, jobThreads: 1 })
    const config = { 'segment.bytes': 16_384, 'index.interval.bytes': 500, 'cleanup.policy': 'compact' }
    await engine.admin.createTopic({ topic: 'kept', config })
    const producer = await engine.producer({ batchBytes: 1_024 })
    for (let i = 0; i < 100; i++) {
      const messages = Array.from({ length: 5 }, (_, j) => ({ key: `${(i * 5 + j) % 7}`, value: Buffer.alloc(150) }))
      await producer.send({ topic: 'kept', messages })
    }
    await engine.admin.applyCompaction({ force: true })
    await engine.close()
    const store = Store.open(home, { readOnly: true })
    const [topic] = store.topics.list()
    const checkpoint = store.checkpoints.ofTopic(topic?.topicId as never).get(0)
    await store.close()
    const { cleanedOffset = 0, segments, recoveryPoint = 0 } = checkpoint ?? {}
    expect(cleanedOffset).toBeGreaterThan(100)
    const plan = (cleaned: number) =>
      planFolder(join(home, 'kept-0'), {
        isClean: true,
        recoveryPoint,
        logStartOffset: 0,
        cleanedOffset: cleaned,
        compacts: true,
        ...(segments && { segments }),
      })
    const run = (cleaned: number) =>
      joinSegments(
        plan(cleaned),
        plan(cleaned).segments.map(one => verifySegment(one)),
      )
    expect(run(cleanedOffset).findings).toEqual([])
    expect(run(0).findings.map(({ kind }) => kind)).toContain('gap')
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})

test('a folder that is not there', () => {
  try {
    planFolder(join(directory, 'nowhere-0'), stored('plain'))
    expect.unreachable()
  } catch (error) {
    expect(isMillraceError(error, 'DIRECTORY_NOT_FOUND')).toBe(true)
  }
})
