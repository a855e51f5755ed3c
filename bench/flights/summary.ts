/** The figures of the main job in a few lines. Pure functions. */
import type { JobResult } from './job.ts'

const count = (value: number): string => Math.round(value).toLocaleString('en-US')

/** Lines: what was appended and read, how fast, and what it became on disk. */
export function summary({ loaded, consumed, grouped, description, reopenMs }: JobResult, totalMs: number): string[] {
  const { partitions } = description
  const sum = (pick: (partition: (typeof partitions)[number]) => number): number =>
    partitions.reduce((total, partition) => total + pick(partition), 0)
  const records = sum(partition => partition.highWatermark - partition.logStartOffset)
  const logBytes = sum(partition => partition.sizeBytes)
  const rate = (ms: number, bytes: number): string =>
    `${count(records / (ms / 1000))} records/s, ${(bytes / 1e6 / (ms / 1000)).toFixed(1)} MB/s`
  return [
    `appended     ${count(records)} records, ${(loaded.bytes / 1e6).toFixed(1)} MB of keys and values, in ${(loaded.ms / 1000).toFixed(2)} s: ${rate(loaded.ms, loaded.bytes)}`,
    `read back    and decoded and compared in ${(consumed.ms / 1000).toFixed(2)} s: ${rate(consumed.ms, logBytes)}`,
    `by a group   of ${grouped.shares.length} members, each flight once, in ${(grouped.ms / 1000).toFixed(2)} s: ${grouped.shares.map(count).join(' + ')}; one left, and ${grouped.rebalanceMs.toFixed(0)} ms later the others had its partitions`,
    `on disk      ${(logBytes / 1e6).toFixed(1)} MB in ${partitions.length} partitions, ${count(sum(p => p.segments))} segments, ${count(sum(p => p.indexEntries))} index entries`,
    `opened again in ${reopenMs.toFixed(0)} ms`,
    `in all       ${(totalMs / 1000).toFixed(1)} s`,
  ]
}
