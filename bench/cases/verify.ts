/**
 * The verification of a segment file, one thread: as `millrace verify` does it, every batch with its CRC, every record, and the entries
 * of both indexes. The limit is the CRC alone over as many bytes in memory. Main thread.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { segmentFileName } from '../../engine/format/file-names.ts'
import { Region } from '../../engine/format/region.ts'
import { rebuildIndex } from '../../engine/log/recovery-index.ts'
import { verifySegment } from '../../engine/log/verify-segment.ts'
import type { SegmentToVerify } from '../../engine/log/verify-types.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { fillBatches } from '../limits/encode.ts'
import { makeValues } from '../limits/values.ts'

const VALUE_BYTES = 100
const INDEX = { indexIntervalBytes: 4096, indexBytesMax: 10 * 1024 * 1024 }

function verifySide(context: BenchContext): Side {
  const { scratch } = context
  const { batches, records, end } = fillBatches(scratch, makeValues(VALUE_BYTES), ROUND_BYTES)
  const directory = context.freshDirectory('verify')
  const fd = openSync(join(directory, segmentFileName(0, 'log')), 'w')
  for (let at = 0; at < end; ) at += writeSync(fd, scratch.bytes, at, end - at)
  closeSync(fd)
  const log = Region.of(scratch.bytes)
  const counts = rebuildIndex({ directory, log, endPosition: end, baseOffset: 0, damages: [], ...INDEX })
  const segment: SegmentToVerify = {
    directory,
    baseOffset: 0,
    sizeBytes: undefined,
    endPosition: end,
    endOffset: records,
    hasGaps: false,
    tornFromOffset: Number.POSITIVE_INFINITY,
    indexes: { offsetEntries: counts.offsetEntries, timeEntries: counts.timeEntries, isComplete: true },
  }
  return {
    work: end,
    round() {
      const start = performance.now()
      const result = verifySegment(segment)
      const ms = performance.now() - start
      const [first] = result.findings
      if (first !== undefined) throw new Error(`${first.path} at ${first.position}: ${first.reason}`)
      if (result.records !== records || result.batches !== batches || result.nextOffset !== records) {
        throw new Error(`${result.records} of ${records} records were verified`)
      }
      return ms
    },
  }
}

export const verifyCases: BenchCase[] = [
  {
    name: 'verify',
    unit: 'bytes/s',
    bar: 0.6,
    limitName: LIMITS.crc64KiB.name,
    run: context => context.compareRates(verifySide(context), LIMITS.crc64KiB.side(context)),
  },
]
