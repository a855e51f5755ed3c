/**
 * The records of the fault tests. A record follows from its key alone, so whoever reads one can tell whether it is whole: the key
 * names the run, the producer's stream, and the number of the record in that stream; value, timestamp and headers are
 * computed from it. Numbers of a stream count from 0 without a gap, in the order in which they were appended.
 */
import type { RecordHeader } from '../../../engine/format/record.ts'

/** Timestamps of run `n` begin here plus `n` times `RUN_MS`. */
const EPOCH_MS = 1_700_000_000_000
const RUN_MS = 10_000_000

export interface RecordId {
  readonly run: number
  readonly producer: string
  readonly topic: string
  readonly partition: number
  readonly number: number
}

export interface ExpectedRecord {
  readonly key: string
  readonly value: Buffer | null
  readonly timestamp: number
}

/** A stream: what one producer appends to one partition in one run. */
export function streamOf({ run, producer, topic, partition }: Omit<RecordId, 'number'>): string {
  return `${run}/${producer}/${topic}/${partition}`
}

export function keyOf(stream: string, number: number): string {
  return `${stream}/${number}`
}

/** The stream and the number of a key; undefined for a key that no fault test makes. */
export function parseKey(key: string): { stream: string; run: number; number: number } | undefined {
  const match = /^((\d+)\/[^/]+\/[^/]+\/\d+)\/(\d+)$/.exec(key)
  return match === null ? undefined : { stream: match[1] as string, run: Number(match[2]), number: Number(match[3]) }
}

/** What the record with this key is made of. */
export function recordOf(key: string): ExpectedRecord {
  const hash = hashOf(key)
  const parsed = parseKey(key)
  const run = parsed?.run ?? 0
  const number = parsed?.number ?? 0
  // Out of order by up to 200 ms, and the same for neighbours now and then.
  const timestamp = EPOCH_MS + run * RUN_MS + number * 3 + (hash % 401) - 200
  return { key, value: hash % 37 === 0 ? null : Buffer.alloc(lengthOf(hash), `${key};`), timestamp }
}

/** Mostly some hundred bytes, now and then many times that. */
function lengthOf(hash: number): number {
  const spread = (hash >>> 8) % 1_000
  if (spread < 2) return 20_000 + (hash % 20_000)
  return spread < 20 ? 1_000 + (hash % 4_000) : hash % 300
}

/** FNV-1a over the characters, then mixed so that neighbouring numbers differ everywhere. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d)
  return (hash ^ (hash >>> 12)) >>> 0
}

/** Why a record that was read is not the one of its key, undefined when it is. */
export function faultOf(record: {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly timestamp: number
  readonly headers: readonly RecordHeader[]
}): string | undefined {
  if (record.key === null) return 'it has no key'
  const key = Buffer.from(record.key).toString('latin1')
  if (parseKey(key) === undefined) return `its key is ${JSON.stringify(key.slice(0, 100))}`
  const expected = recordOf(key)
  if (record.timestamp !== expected.timestamp)
    return `${key} has timestamp ${record.timestamp}, not ${expected.timestamp}`
  const same = record.value === null ? expected.value === null : expected.value?.equals(record.value)
  return same === true ? undefined : `${key} has another value (${record.value?.length ?? 'null'} bytes)`
}
