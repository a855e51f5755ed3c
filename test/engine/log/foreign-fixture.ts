/** Logs as Apache Kafka writes them where Millrace does not: transactions with their markers and index, and gaps. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { segmentFileName } from '../../../engine/format/file-names.ts'
import { formatEpochCheckpoint } from '../../../engine/format/leader-epoch-checkpoint.ts'
import { type BatchOptions, encodeBatch, stampBatch } from '../../../engine/format/record-batch.ts'
import { Region } from '../../../engine/format/region.ts'
import { TRANSACTION_ENTRY } from '../../../engine/format/transaction-index.ts'
import { EPOCH_CHECKPOINT_NAME } from '../../../engine/log/epoch-checkpoint-file.ts'

export interface ForeignBatch {
  readonly offset: number
  /** `key=value` for each record; with `end` none. */
  readonly records?: readonly string[]
  /** Of a transaction. */
  readonly producerId?: number
  /** A marker. */
  readonly end?: 'commit' | 'abort'
  readonly epoch?: number
}

export const TIME_MS = 1_750_000_000_000

export function foreignBatch({ offset, records = [], producerId = -1, end, epoch = 0 }: ForeignBatch): Buffer {
  const options: BatchOptions =
    producerId === -1 ? {} : { producerId, producerEpoch: 0, isTransactional: true, isControl: end !== undefined }
  const inputs = records.map((record, i) => {
    const [key, value] = record.split('=')
    return { timestamp: TIME_MS + offset + i, key: Buffer.from(key as string), value: Buffer.from(value as string) }
  })
  const marker = {
    timestamp: TIME_MS + offset,
    key: Buffer.from([0, 0, 0, end === 'commit' ? 1 : 0]),
    value: Buffer.alloc(6),
  }
  const { bytes } = encodeBatch(end === undefined ? inputs : [marker], options)
  stampBatch(Region.of(bytes).view, 0, offset, epoch)
  return bytes
}

/** Writes segments, by the base offset of their first batches or the given one. */
export function writeForeign(directory: string, segments: readonly (readonly ForeignBatch[])[]): void {
  mkdirSync(directory, { recursive: true })
  for (const batches of segments) {
    const path = join(directory, segmentFileName(batches[0]?.offset ?? 0, 'log'))
    writeFileSync(path, Buffer.concat(batches.map(foreignBatch)))
  }
  const first = segments[0]?.[0]
  const epochs = first === undefined ? [] : [{ epoch: first.epoch ?? 0, startOffset: first.offset }]
  writeFileSync(join(directory, EPOCH_CHECKPOINT_NAME), formatEpochCheckpoint(epochs))
}

/** An aborted transaction: producer, first offset, offset of the marker. */
export function writeAborted(
  directory: string,
  base: number,
  entries: readonly (readonly [number, number, number])[],
): void {
  const bytes = Buffer.alloc(entries.length * TRANSACTION_ENTRY.sizeBytes)
  entries.forEach((numbers, i) => {
    const at = i * TRANSACTION_ENTRY.sizeBytes
    const fields = [...numbers, numbers[2] + 1]
    for (const [field, number] of fields.entries()) bytes.writeBigInt64BE(BigInt(number), at + 2 + 8 * field)
  })
  writeFileSync(join(directory, segmentFileName(base, 'log').replace(/log$/, 'txnindex')), bytes)
}
