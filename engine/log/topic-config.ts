/**
 * Configuration of a topic: Kafka's keys, types, defaults and ranges in one table. Values are kept as the text that was
 * given; `parseTopicConfig` turns them into the numbers that the log works with.
 */
import { MillraceError } from '../base/errors.ts'
import { MIB, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN } from '../base/limits.ts'

interface NumberKey {
  readonly kind: 'number'
  readonly fallback: number
  readonly min: number
  readonly max: number
}

/** From 0 to 1. */
interface RatioKey {
  readonly kind: 'ratio'
  readonly fallback: number
}

interface ChoiceKey {
  readonly kind: 'choice'
  readonly fallback: string
  readonly choices: readonly string[]
}

const number = (fallback: number, min: number, max = Number.MAX_SAFE_INTEGER): NumberKey => ({
  kind: 'number',
  fallback,
  min,
  max,
})

const DAY_MS = 24 * 3_600_000
const WEEK_MS = 7 * DAY_MS

/** Every key that is served. A flush interval of the largest safe integer means never, as in Kafka. */
export const TOPIC_CONFIG_KEYS = {
  'cleanup.policy': {
    kind: 'choice',
    fallback: 'delete',
    choices: ['delete', 'compact', 'compact,delete', 'delete,compact'],
  },
  'delete.retention.ms': number(DAY_MS, 0),
  'flush.messages': number(Number.MAX_SAFE_INTEGER, 1),
  'flush.ms': number(Number.MAX_SAFE_INTEGER, 0),
  'index.interval.bytes': number(4_096, 0, SEGMENT_BYTES_MAX),
  'max.compaction.lag.ms': number(Number.MAX_SAFE_INTEGER, 1),
  'max.message.bytes': number(MIB + 12, 0, SEGMENT_BYTES_MAX),
  'message.timestamp.type': { kind: 'choice', fallback: 'CreateTime', choices: ['CreateTime', 'LogAppendTime'] },
  'min.cleanable.dirty.ratio': { kind: 'ratio', fallback: 0.5 },
  'min.compaction.lag.ms': number(0, 0),
  'min.insync.replicas': number(1, 1, 0x7fff_ffff),
  'retention.bytes': number(-1, -1),
  'retention.ms': number(WEEK_MS, -1),
  'segment.bytes': number(1024 * MIB, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
  'segment.index.bytes': number(10 * MIB, 4_096, SEGMENT_BYTES_MAX),
  'segment.ms': number(WEEK_MS, 1),
  'unclean.leader.election.enable': { kind: 'choice', fallback: 'false', choices: ['true', 'false'] },
} as const satisfies Record<string, NumberKey | RatioKey | ChoiceKey>

export type TopicConfigKey = keyof typeof TOPIC_CONFIG_KEYS

/** A topic's configuration as the log uses it. */
export interface TopicConfig {
  /** True with `flush.messages=1`: nothing is acknowledged or shown before it is flushed. */
  readonly durable: boolean
  /** Records between flushes, and milliseconds between them; the largest safe integer means never. */
  readonly flushMessages: number
  readonly flushMs: number
  readonly indexIntervalBytes: number
  readonly maxMessageBytes: number
  readonly logAppendTime: boolean
  /** `cleanup.policy` has `compact`: of each key only the latest record is kept, and every record has one. */
  readonly compacts: boolean
  /** Tombstones stay this long after the first compaction that met them. */
  readonly deleteRetentionMs: number
  readonly minCompactionLagMs: number
  /** The largest safe integer means no limit. */
  readonly maxCompactionLagMs: number
  readonly minCleanableDirtyRatio: number
  /** -1: no limit, as always without `delete` in `cleanup.policy`. */
  readonly retentionBytes: number
  /** -1: no limit. */
  readonly retentionMs: number
  readonly segmentBytes: number
  readonly segmentIndexBytes: number
  readonly segmentMs: number
}

export function isTopicConfigKey(key: string): key is TopicConfigKey {
  return Object.hasOwn(TOPIC_CONFIG_KEYS, key)
}

/** @throws INVALID_CONFIG */
export function demandTopicConfigKey(key: string): TopicConfigKey {
  if (isTopicConfigKey(key)) return key
  const known = Object.keys(TOPIC_CONFIG_KEYS).join(' ')
  throw new MillraceError('INVALID_CONFIG', { key: key.slice(0, 64), known })
}

/** Checks one value and returns it as text. @throws INVALID_CONFIG */
export function checkTopicConfig(key: string, value: string | number | boolean): string {
  const spec = TOPIC_CONFIG_KEYS[demandTopicConfigKey(key)]
  const text = String(value)
  if (spec.kind === 'choice') {
    if (!(spec.choices as readonly string[]).includes(text)) {
      throw new MillraceError('INVALID_CONFIG', { key, value: text.slice(0, 64), choices: spec.choices.join(' ') })
    }
    return text
  }
  const parsed = Number(text)
  if (spec.kind === 'ratio') {
    if (text.trim() !== '' && parsed >= 0 && parsed <= 1) return String(parsed)
    throw new MillraceError('INVALID_CONFIG', { key, value: text.slice(0, 64), min: 0, max: 1 })
  }
  // Kafka's "never" is 2^63 - 1; it is taken as ours.
  if (text === '9223372036854775807' && spec.max === Number.MAX_SAFE_INTEGER) return String(spec.max)
  if (text.trim() === '' || !Number.isSafeInteger(parsed) || parsed < spec.min || parsed > spec.max) {
    throw new MillraceError('INVALID_CONFIG', { key, value: text.slice(0, 64), min: spec.min, max: spec.max })
  }
  return String(parsed)
}

/** Checks every entry. @throws INVALID_CONFIG */
export function checkTopicConfigs(
  entries: Readonly<Record<string, string | number | boolean>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).map(([key, value]) => [key, checkTopicConfig(key, value)]))
}

/** The effective configuration: what is set, over the defaults. */
export function effectiveTopicConfig(entries: Readonly<Record<string, string>>): Record<TopicConfigKey, string> {
  const all = Object.entries(TOPIC_CONFIG_KEYS).map(([key, spec]) => [key, entries[key] ?? String(spec.fallback)])
  return Object.fromEntries(all) as Record<TopicConfigKey, string>
}

export function parseTopicConfig(entries: Readonly<Record<string, string>>): TopicConfig {
  const text = effectiveTopicConfig(entries)
  const value = (key: TopicConfigKey): number => Number(text[key])
  const compacts = text['cleanup.policy'].includes('compact')
  const deletes = text['cleanup.policy'].includes('delete')
  const maxCompactionLagMs = value('max.compaction.lag.ms')
  return {
    durable: value('flush.messages') === 1,
    flushMessages: value('flush.messages'),
    flushMs: value('flush.ms'),
    indexIntervalBytes: value('index.interval.bytes'),
    maxMessageBytes: value('max.message.bytes'),
    logAppendTime: text['message.timestamp.type'] === 'LogAppendTime',
    compacts,
    deleteRetentionMs: value('delete.retention.ms'),
    minCompactionLagMs: value('min.compaction.lag.ms'),
    maxCompactionLagMs,
    minCleanableDirtyRatio: value('min.cleanable.dirty.ratio'),
    retentionBytes: deletes ? value('retention.bytes') : -1,
    retentionMs: deletes ? value('retention.ms') : -1,
    segmentBytes: value('segment.bytes'),
    segmentIndexBytes: value('segment.index.bytes'),
    // What is in the active segment cannot be compacted, so it is closed in time.
    segmentMs: compacts ? Math.min(value('segment.ms'), maxCompactionLagMs) : value('segment.ms'),
  }
}
