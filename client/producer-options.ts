/** Options of a producer, with their defaults and their ranges. */
import { MillraceError } from '../engine/base/errors.ts'
import { GIB, KIB, MIB } from '../engine/base/limits.ts'
import { whole } from '../engine/broker/options.ts'
import { CODECS } from '../engine/format/record-batch.ts'
import type { CoreOptions } from './producer-core.ts'
import type { Acks, ProducerOptions } from './types.ts'

const SLABS_DEFAULT = 64
const MILLISECONDS_MAX = 0x7fff_ffff

export interface ResolvedProducerOptions {
  readonly core: CoreOptions
  readonly acks: Acks
  readonly lingerMs: number
}

/** @throws INVALID_ARGUMENT, UNSUPPORTED_COMPRESSION */
export function resolveProducerOptions(options: ProducerOptions): ResolvedProducerOptions {
  const slabBytes = whole('batchBytes', options.batchBytes ?? 64 * KIB, 1024, 64 * MIB)
  const bufferBytes = whole(
    'bufferBytes',
    options.bufferBytes ?? Math.min(SLABS_DEFAULT * slabBytes, GIB),
    slabBytes,
    GIB,
  )
  const codec = options.compression ?? 'none'
  if (!CODECS.includes(codec)) throw new MillraceError('UNSUPPORTED_COMPRESSION', { codec: String(codec).slice(0, 64) })
  return {
    acks: checkAcks(options.acks ?? 'all'),
    lingerMs: whole('lingerMs', options.lingerMs ?? 0, 0, MILLISECONDS_MAX),
    core: {
      slabBytes,
      slabCount: Math.floor(bufferBytes / slabBytes),
      codec,
      idempotent: options.idempotent ?? false,
      deliveryTimeoutMs: whole('deliveryTimeoutMs', options.deliveryTimeoutMs ?? 30_000, 1, MILLISECONDS_MAX),
    },
  }
}

/** @throws INVALID_ARGUMENT */
export function checkAcks(acks: Acks): Acks {
  if (acks === 0 || acks === 1 || acks === 'all') return acks
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'acks', value: String(acks), accepted: '0, 1, all' })
}
