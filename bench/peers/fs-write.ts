/**
 * `fs.writeSync` of the same bytes: the batches of the encode limit, ready made, in writes of 64 KiB. The file is written over
 * from its start in every round, so that only the first, uncounted one has to find pages and blocks. Main thread.
 */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { BATCH_BYTES, fillBatches } from '../limits/encode.ts'
import { makeValues } from '../limits/values.ts'

/** Rounds that write `roundBytes`; the work is the records in them. */
export function fsWriteSide(context: BenchContext, valueBytes: number, roundBytes: number): Side {
  const { bytes } = context.scratch
  const fd = openSync(join(context.freshDirectory('fs-write'), 'log'), 'w')
  const { records, end } = fillBatches(context.scratch, makeValues(valueBytes), roundBytes)
  return {
    work: records,
    round() {
      const start = performance.now()
      for (let at = 0; at < end; at += BATCH_BYTES) writeSync(fd, bytes, at, Math.min(BATCH_BYTES, end - at), at)
      const ms = performance.now() - start
      if (fstatSync(fd).size !== end) throw new Error(`the file has ${fstatSync(fd).size} bytes, not ${end}`)
      return ms
    },
    close: () => closeSync(fd),
  }
}
