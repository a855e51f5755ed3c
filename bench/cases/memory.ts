/**
 * Anonymous memory over a long run of appends: a producer holds its slab pool and no more, so what the process has of it
 * after the warm-up stays as it is. Mapped pages belong to files and are given apart. Linux: from /proc. Main thread.
 */
import { readFileSync } from 'node:fs'
import type { BenchCase, BenchContext, CaseResult } from '../harness/case.ts'
import { formatValue } from '../harness/report.ts'
import { makeValues } from '../limits/values.ts'
import { appendRecords, KEEP, openEngine, TOPIC } from './engine.ts'

const VALUE_BYTES = 100
/** 2.2 GB in all: many times the slabs, the rings and the young generation of the heap. */
const CHUNK_RECORDS = 2_000_000
const CHUNKS = 10
const WARM_UP_CHUNKS = 2
/** Applied after each chunk, so that the run's length costs no disk space. */
const RETENTION = { 'retention.bytes': 512 * 1024 * 1024, 'segment.bytes': 128 * 1024 * 1024 }

/** Slabs of a producer by default: 64 batches of 65,536 bytes. */
const SLAB_POOL_BYTES = 64 * 65_536

interface Memory {
  readonly anonymous: number
  /** Pages of mapped files and of shared memory. */
  readonly mapped: number
}

function readMemory(): Memory {
  globalThis.gc?.()
  const status = readFileSync('/proc/self/status', 'utf8')
  const bytes = (field: string): number => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1])
  return { anonymous: bytes('RssAnon'), mapped: bytes('RssFile') + bytes('RssShmem') }
}

async function measureGrowth(context: BenchContext): Promise<CaseResult> {
  const engine = await openEngine(context, 'memory')
  await engine.admin.createTopic({ topic: TOPIC, config: { ...KEEP, ...RETENTION } })
  const producer = await engine.producer()
  const appender = await producer.appender(TOPIC, 0)
  const values = makeValues(VALUE_BYTES)
  let before = readMemory()
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    if (chunk === WARM_UP_CHUNKS) before = readMemory()
    await appendRecords(producer, appender, values, CHUNK_RECORDS, 1024)
    await producer.flush()
    await engine.admin.applyRetention()
  }
  const after = readMemory()
  const from = (memory: Memory): string =>
    `${formatValue(memory.anonymous, 'bytes')} anonymous, ${formatValue(memory.mapped, 'bytes')} mapped`
  const note = `before ${from(before)}; after ${from(after)}`
  return { value: after.anonymous, limit: before.anonymous + SLAB_POOL_BYTES, note }
}

export const memoryCases: BenchCase[] =
  process.platform === 'linux'
    ? [
        {
          name: 'memory/RssAnon',
          unit: 'bytes',
          bar: 1,
          limitName: 'after 2 chunks + a slab pool',
          run: measureGrowth,
        },
      ]
    : []
