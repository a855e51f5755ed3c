/** Options of a producer, with their defaults and their ranges. */
import { MillraceError } from '../engine/base/errors.ts'
import { GIB, KIB, MIB } from '../engine/base/limits.ts'
import { whole } from '../engine/broker/options.ts'
import { CODECS } from '../engine/format/record-batch.ts'
import type { CoreOptions } from './producer-core.ts'
import type { Acks, ProducerOptions } from './types.ts'

/** Full batches that the buffer holds where nothing is said about it: enough to keep a writer busy, and in the caches. */
const BATCHES_DEFAULT = 64
/** What it may grow to for the sake of more partitions; Kafka's `buffer.memory`. */
const BUFFER_BYTES = 32 * MIB
/** The least memory of an open batch; with ten thousand of them it fits the buffer. */
const SLAB_BYTES = 2 * KIB
const MILLISECONDS_MAX = 0x7fff_ffff

export interface ResolvedProducerOptions {
  readonly core: CoreOptions
  readonly acks: Acks
  readonly lingerMs: number
}

/** @throws INVALID_ARGUMENT, UNSUPPORTED_COMPRESSION */
export function resolveProducerOptions(options: ProducerOptions): ResolvedProducerOptions {
  const batchBytes = whole('batchBytes', options.batchBytes ?? 64 * KIB, 1024, 64 * MIB)
  const usualBytes = Math.min(BATCHES_DEFAULT * batchBytes, GIB)
  const bufferBytes = whole('bufferBytes', options.bufferBytes ?? Math.max(usualBytes, BUFFER_BYTES), batchBytes, GIB)
  const slabBytes = Math.min(batchBytes, SLAB_BYTES)
  const codec = options.compression ?? 'none'
  if (!CODECS.includes(codec)) throw new MillraceError('UNSUPPORTED_COMPRESSION', { codec: String(codec).slice(0, 64) })
  return {
    acks: checkAcks(options.acks ?? 'all'),
    lingerMs: whole('lingerMs', options.lingerMs ?? 0, 0, MILLISECONDS_MAX),
    core: {
      batchBytes,
      bufferBytes,
      usualBytes: options.bufferBytes === undefined ? usualBytes : bufferBytes,
      slabBytes,
      slabCount: Math.ceil(bufferBytes / slabBytes),
      codec,
      idempotent: options.idempotent ?? false,
      isLeaderOnly: (options.acks ?? 'all') !== 'all',
      deliveryTimeoutMs: whole('deliveryTimeoutMs', options.deliveryTimeoutMs ?? 30_000, 1, MILLISECONDS_MAX),
    },
  }
}

/** @throws INVALID_ARGUMENT */
export function checkAcks(acks: Acks): Acks {
  if (acks === 0 || acks === 1 || acks === 'all') return acks
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'acks', value: String(acks), accepted: '0, 1, all' })
}
