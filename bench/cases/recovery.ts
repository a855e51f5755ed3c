/**
 * The scan that recovery makes over a segment after an unclean stop, one thread: every batch's length, fields, CRC, offset
 * and leader epoch. It reads the mapping that the limit checksums, filled with sound batches. Main thread.
 */
import { Region } from '../../engine/format/region.ts'
import { scanSegment } from '../../engine/log/segment-scan.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { LIMITS, ROUND_BYTES } from '../limits/all.ts'
import { fillBatches } from '../limits/encode.ts'
import { makeValues } from '../limits/values.ts'

const VALUE_BYTES = 100

function scanSide({ scratch }: BenchContext): Side {
  const { batches, records, end } = fillBatches(scratch, makeValues(VALUE_BYTES), ROUND_BYTES)
  const region = Region.of(scratch.bytes)
  return {
    work: end,
    round() {
      const start = performance.now()
      const scan = scanSegment(region, 0, end, { baseOffset: 0 })
      const ms = performance.now() - start
      if (scan.fault !== undefined || scan.end !== end || scan.nextOffset !== records || scan.batches !== batches) {
        throw new Error(`the scan ended at ${scan.end} of ${end}: ${scan.fault?.reason ?? 'no fault'}`)
      }
      return ms
    },
  }
}

export const recoveryCases: BenchCase[] = [
  {
    name: 'recovery/scan',
    unit: 'bytes/s',
    bar: 0.6,
    limitName: LIMITS.crc64KiB.name,
    run: context => context.compareRates(scanSide(context), LIMITS.crc64KiB.side(context)),
  },
]
