/**
 * The walk of compaction over the keys of a log: each noted with its latest offset. Beside it a reader's walk over the same
 * records, headers only, which is what there is to see without looking at keys. Main thread.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Millrace } from '../../client/index.ts'
import { partitionDirectory, segmentFileName } from '../../engine/format/file-names.ts'
import { countKeys } from '../../engine/log/compaction.ts'
import type { PlannedSegment } from '../../engine/log/compaction-plan.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { ROUND_BYTES } from '../limits/all.ts'
import { FIRST_TIMESTAMP, makeValues, VALUE_COUNT } from '../limits/values.ts'
import { openEngine, TOPIC } from './engine.ts'
import { timeRead, warmUp } from './read.ts'

const VALUE_BYTES = 100
const KEY_BYTES = 16
const KEYS = 100_000
const RECORDS = Math.floor(ROUND_BYTES / (VALUE_BYTES + KEY_BYTES + 10))
const BUFFER_BYTES = 128 * 1024 * 1024
const CONFIG = { 'cleanup.policy': 'compact', 'segment.bytes': 64 * 1024 * 1024 }

function closedSegments(directory: string): PlannedSegment[] {
  const bases = readdirSync(directory)
    .filter(name => name.endsWith('.log'))
    .map(name => Number.parseInt(name, 10))
    .sort((a, b) => a - b)
  return bases.slice(0, -1).map((baseOffset, index) => ({
    baseOffset,
    sizeBytes: statSync(join(directory, segmentFileName(baseOffset, 'log'))).size,
    nextOffset: bases[index + 1] as number,
    maxTimestamp: FIRST_TIMESTAMP,
    offsetEntries: 0,
    timeEntries: 0,
    isIndexed: true,
  }))
}

async function sides(context: BenchContext): Promise<{ engine: Side; limit: Side }> {
  const { directory: home } = await fill(context)
  const engine = await Millrace.open(home)
  context.defer(() => engine.close())
  const directory = join(home, partitionDirectory(TOPIC, 0))
  const segments = closedSegments(directory)
  const bytes = segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const end = segments.at(-1)?.nextOffset ?? 0
  const request = {
    directory,
    segments,
    firstDirtyOffset: 0,
    segmentBytes: CONFIG['segment.bytes'],
    indexIntervalBytes: 4_096,
    indexBytesMax: BUFFER_BYTES,
    deleteRetentionMs: 0,
    bufferBytes: BUFFER_BYTES,
    nowMs: FIRST_TIMESTAMP,
    abort: new SharedArrayBuffer(4),
  }
  return {
    engine: {
      work: bytes,
      round() {
        const start = performance.now()
        const found = countKeys(request)
        const ms = performance.now() - start
        if (found !== KEYS) throw new Error(`${found} of ${KEYS} keys`)
        return ms
      },
    },
    limit: {
      work: bytes,
      prepare: () => warmUp(engine),
      round: () => timeRead(engine, end),
    },
  }
}

/** A log of records with keys, closed, so that its files are as long as what is in them. */
async function fill(context: BenchContext): Promise<Millrace> {
  const engine = await openEngine(context, 'compact')
  await engine.admin.createTopic({ topic: TOPIC, config: CONFIG })
  const producer = await engine.producer()
  const appender = await producer.appender(TOPIC, 0)
  const values = makeValues(VALUE_BYTES)
  const keys = Array.from({ length: KEYS }, (_, i) => Buffer.from(`key-${i}`.padEnd(KEY_BYTES, '.')))
  for (let i = 0; i < RECORDS; i++) {
    const key = keys[(i * 7919) % KEYS] as Buffer
    while (!appender.tryAppend(values[i & (VALUE_COUNT - 1)] as Uint8Array, key, FIRST_TIMESTAMP))
      await producer.ready()
  }
  await producer.close()
  await engine.close()
  return engine
}

export const compactCases: BenchCase[] = [
  {
    name: 'compact/scan',
    unit: 'bytes/s',
    bar: 0.4,
    limitName: 'read/scan of the same log',
    async run(context) {
      const { engine, limit } = await sides(context)
      return context.compareRates(engine, limit)
    },
  },
]
