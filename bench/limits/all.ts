/** The physical bounds as cases of their own, for `npm run bench -- --limits`: what this machine can do, engine or not. */
import type { BenchCase, BenchContext, Unit } from '../harness/case.ts'
import { apart } from '../harness/placement.ts'
import { runRounds } from '../harness/rounds.ts'
import type { Side } from '../harness/side.ts'
import { avroDecodeLimit, avroEncodeLimit } from './avro.ts'
import { copyLimit } from './copy.ts'
import { crcLimit } from './crc.ts'
import { encodeLimit } from './encode.ts'
import { fdatasyncLimit } from './fdatasync.ts'
import { lmdbPutLimit } from './lmdb-put.ts'
import { lookupLimit, makeLookupLog } from './lookup.ts'
import { roundTripLimit } from './round-trip.ts'
import { SCRATCH_BYTES } from './scratch.ts'
import { walkLimit } from './walk.ts'

/** Bytes of a throughput round: much more than any cache holds, much less than makes the kernel write back. */
export const ROUND_BYTES = 256 * 1024 * 1024

/** Senders that one sync serves in `append/durable`. */
export const DURABLE_SENDERS = 64

/** What lookups search: a log of 1 GiB in batches of 16 KiB. */
export const LOOKUP = { valueBytes: 100, batchBytes: 16 * 1024, logBytes: SCRATCH_BYTES, perRound: 200_000 } as const

/** Records of a round of Avro. */
export const AVRO_RECORDS = 2_000_000

/** Commits of a round, one partition each, over so many groups; and the bytes that a committed offset takes in the store. */
export const COMMITS = { perRound: 100_000, groups: 1_000, valueBytes: 75 } as const

const KIB = 1024

interface Limit {
  /** For the table. */
  readonly name: string
  readonly unit: Unit
  readonly side: (context: BenchContext) => Side
}

const limit = (name: string, unit: Unit, side: (context: BenchContext) => Side): Limit => ({ name, unit, side })

export const LIMITS = {
  encode100: limit('encode + CRC, one thread', 'records/s', ({ scratch }) =>
    encodeLimit(scratch, 100, ROUND_BYTES, 'records'),
  ),
  encode1KiB: limit('encode + CRC, one thread', 'bytes/s', ({ scratch }) =>
    encodeLimit(scratch, KIB, ROUND_BYTES, 'bytes'),
  ),
  copy16KiB: limit('copy of 16 KiB chunks', 'bytes/s', ({ scratch }) => copyLimit(scratch, 16 * KIB, ROUND_BYTES)),
  fdatasync: limit(`${DURABLE_SENDERS} × fdatasync of 4 KiB`, 'acks/s', context =>
    fdatasyncLimit(context.freshDirectory('fdatasync'), 1000, DURABLE_SENDERS),
  ),
  walk: limit('header walk in memory', 'records/s', ({ scratch }) => walkLimit(scratch, 100, ROUND_BYTES, 'headers')),
  views: limit('one subarray per record', 'records/s', ({ scratch }) => walkLimit(scratch, 100, ROUND_BYTES, 'views')),
  lookup: limit('binary search + half a batch', 'lookups/s', ({ scratch }) =>
    lookupLimit(makeLookupLog(scratch, LOOKUP.valueBytes, LOOKUP.batchBytes, LOOKUP.logBytes), LOOKUP.perRound),
  ),
  lmdbPut: limit('lmdb puts, batched', 'acks/s', context =>
    lmdbPutLimit(context.freshDirectory('lmdb-put'), COMMITS.perRound, COMMITS.groups, COMMITS.valueBytes),
  ),
  roundTrip: limit('round trip, both parked, p50', 'us', () => apart(roundTripLimit(2000))),
  avroEncode: limit('avsc toBuffer', 'records/s', () => avroEncodeLimit(AVRO_RECORDS)),
  avroDecode: limit('avsc fromBuffer', 'records/s', () => avroDecodeLimit(AVRO_RECORDS)),
  crc16KiB: limit('CRC-32C of 16 KiB pieces', 'bytes/s', ({ scratch }) => crcLimit(scratch, 16 * KIB, ROUND_BYTES)),
  crc64KiB: limit('CRC-32C of 64 KiB pieces', 'bytes/s', ({ scratch }) => crcLimit(scratch, 64 * KIB, ROUND_BYTES)),
}

/** A bound is its own limit: the ratio is 1, the spread over the rounds is what there is to see. */
export const limitCases: BenchCase[] = Object.entries(LIMITS).map(([key, { name, unit, side }]) => ({
  name: `limit/${key}`,
  unit,
  limitName: name,
  async run(context) {
    const { bound } = await runRounds({ bound: side(context) }, context.rounds)
    const convert = (ms: number): number => (unit === 'us' ? ms * 1000 : (bound.work * 1000) / ms)
    const ends = [convert(bound.slowestMs), convert(bound.fastestMs)]
    const value = convert(bound.medianMs)
    return { value, limit: value, valueSpread: { low: Math.min(...ends), high: Math.max(...ends) } }
  },
}))
