/** The batches of a partition as they are on the disk, for what the client API does not show. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BATCH,
  baseOffsetOf,
  batchBytes,
  type Codec,
  codecOf,
  leaderEpochOf,
  parseSegmentFileName,
  Region,
  recordCountOf,
} from '../../../engine/format/index.ts'

export interface BatchOnDisk {
  readonly baseOffset: number
  readonly records: number
  readonly bytes: number
  readonly codec: Codec
  readonly leaderEpoch: number
}

export function batchesOf(directory: string): BatchOnDisk[] {
  const batches: BatchOnDisk[] = []
  const names = readdirSync(directory).filter(name => parseSegmentFileName(name)?.suffix === 'log')
  for (const name of names.sort()) {
    const { view, length } = Region.of(readFileSync(join(directory, name)))
    for (let at = 0; at + BATCH.headerBytes <= length && batchBytes(view, at) > BATCH.overheadBytes; ) {
      const bytes = batchBytes(view, at)
      batches.push({
        baseOffset: baseOffsetOf(view, at),
        records: recordCountOf(view, at),
        bytes,
        codec: codecOf(view, at),
        leaderEpoch: leaderEpochOf(view, at),
      })
      at += bytes
    }
  }
  return batches
}
