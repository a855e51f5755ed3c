/**
 * Kafka's `.txnindex` file: the aborted transactions whose end lies in a segment. Entries of 34 bytes, in the order in which the
 * transactions ended. Pure functions; any thread.
 *
 *      0  version            i16   0
 *      2  producerId         i64
 *     10  firstOffset        i64   of its first record
 *     18  lastOffset         i64   of its abort marker
 *     26  lastStableOffset   i64   when it ended
 */
import { type Region, readI64 } from './region.ts'

export const TRANSACTION_ENTRY = {
  versionAt: 0,
  producerIdAt: 2,
  firstOffsetAt: 10,
  lastOffsetAt: 18,
  lastStableOffsetAt: 26,
  sizeBytes: 34,
} as const

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  /** Of the marker, inclusive. */
  readonly lastOffset: number
}

/** The entries, or `undefined` when the file is damaged: of another length, version or order. */
export function parseTransactionIndex(region: Region): AbortedTransaction[] | undefined {
  const { view, length } = region
  if (length % TRANSACTION_ENTRY.sizeBytes !== 0) return undefined
  const entries: AbortedTransaction[] = []
  for (let at = 0; at < length; at += TRANSACTION_ENTRY.sizeBytes) {
    if (view.getInt16(at + TRANSACTION_ENTRY.versionAt) !== 0) return undefined
    const entry = {
      producerId: readI64(view, at + TRANSACTION_ENTRY.producerIdAt),
      firstOffset: readI64(view, at + TRANSACTION_ENTRY.firstOffsetAt),
      lastOffset: readI64(view, at + TRANSACTION_ENTRY.lastOffsetAt),
    }
    if (entry.firstOffset > entry.lastOffset || entry.lastOffset <= (entries.at(-1)?.lastOffset ?? -1)) return undefined
    entries.push(entry)
  }
  return entries
}
