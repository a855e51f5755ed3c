/** Options of an engine, with their defaults and their ranges. */
import { availableParallelism } from 'node:os'
import { MillraceError } from '../base/errors.ts'
import { GIB, MIB, WRITERS_MAX } from '../base/limits.ts'

export interface EngineOptions {
  /** Look at a directory that may have a live owner, and change nothing. Default false. */
  readonly readOnly?: boolean
  /** Writer threads over which the partitions are spread, 1 to 64. Default: the processors less one, at least 1, at most 8. */
  readonly writers?: number
  /** Threads for recovery and other short jobs, 1 to 64. Default: the processors, at most 8. */
  readonly jobThreads?: number
  /** How often retention is applied, as Kafka's `log.retention.check.interval.ms`. Default 300,000. */
  readonly retentionCheckMs?: number
  /** How often logs are looked at for compaction, as Kafka's `log.cleaner.backoff.ms`. Default 15,000. */
  readonly cleanerBackoffMs?: number
  /** Memory for the keys of one compaction, as Kafka's `log.cleaner.dedupe.buffer.size`. Default 128 MiB. */
  readonly cleanerBufferBytes?: number
  /** An idempotent producer that is idle for this long is forgotten, as Kafka's `producer.id.expiration.ms`. Default 86,400,000. */
  readonly producerIdExpirationMs?: number
  /** How often recovery points are stored. Default 5,000. */
  readonly checkpointMs?: number
  /** Its partitions are replicas of a cluster, which says what they do. Default false. */
  readonly replicas?: boolean
  /** Longest wait for an answer of an engine thread before TIMED_OUT, default 30,000. */
  readonly requestTimeoutMs?: number
}

export type ResolvedOptions = Required<EngineOptions>

export function resolveOptions(options: EngineOptions): ResolvedOptions {
  const processors = availableParallelism()
  return {
    readOnly: options.readOnly ?? false,
    writers: whole('writers', options.writers ?? Math.min(Math.max(processors - 1, 1), 8), 1, WRITERS_MAX),
    jobThreads: whole('jobThreads', options.jobThreads ?? Math.min(processors, 8), 1, WRITERS_MAX),
    retentionCheckMs: whole('retentionCheckMs', options.retentionCheckMs ?? 300_000, 10, 0x7fff_ffff),
    cleanerBackoffMs: whole('cleanerBackoffMs', options.cleanerBackoffMs ?? 15_000, 10, 0x7fff_ffff),
    cleanerBufferBytes: whole('cleanerBufferBytes', options.cleanerBufferBytes ?? 128 * MIB, MIB, GIB),
    producerIdExpirationMs: whole(
      'producerIdExpirationMs',
      options.producerIdExpirationMs ?? 86_400_000,
      1,
      0x7fff_ffff,
    ),
    replicas: options.replicas ?? false,
    checkpointMs: whole('checkpointMs', options.checkpointMs ?? 5_000, 10, 0x7fff_ffff),
    requestTimeoutMs: whole('requestTimeoutMs', options.requestTimeoutMs ?? 30_000, 10, 0x7fff_ffff),
  }
}

/** @throws INVALID_ARGUMENT unless `value` is a whole number in `[min, max]` */
export function whole(argument: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new MillraceError('INVALID_ARGUMENT', { argument, value, min, max })
  }
  return value
}
