/** What else a Node service could append to, beside the same bound as `append/100B`. No bars: these are for comparison. */
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { fsWriteSide } from './fs-write.ts'
import { lmdbSide } from './lmdb.ts'
import { sqliteSide } from './sqlite.ts'

const VALUE_BYTES = 100

/** Records of a round: below a second for either. */
const LMDB_RECORDS = 500_000
const SQLITE_RECORDS = 300_000

function peer(name: string, makeSide: (context: BenchContext) => Side, note?: string): BenchCase {
  return {
    name: `peer/${name}/100B`,
    unit: 'records/s',
    limitName: LIMITS.encode100.name,
    run: context => context.compareRates(makeSide(context), LIMITS.encode100.side(context), note),
  }
}

export const peerCases: BenchCase[] = [
  peer('lmdb', context => lmdbSide(context, VALUE_BYTES, LMDB_RECORDS)),
  peer('sqlite', context => sqliteSide(context, VALUE_BYTES, SQLITE_RECORDS)),
  peer(
    'fs.write',
    context => fsWriteSide(context, VALUE_BYTES, ROUND_BYTES),
    'the batches are ready made; nothing is encoded, checksummed, indexed or handed to another thread',
  ),
]
