/**
 * The aborted transactions of a partition that Apache Kafka wrote, from the `.txnindex` files of its segments. No transaction can
 * begin or end in Millrace, so what was read once stays right. Any thread.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileError, MillraceError } from '../base/errors.ts'
import { parseSegmentFileName } from '../format/file-names.ts'
import { baseOffsetOf, isControlBatch, isTransactional, producerIdOf } from '../format/record-batch.ts'
import { Region } from '../format/region.ts'
import { type AbortedTransaction, parseTransactionIndex } from '../format/transaction-index.ts'
import { listDirectory } from './recovery-files.ts'

export class AbortedTransactions {
  /** In the order of offsets: one transaction of a producer ends before the next begins. */
  readonly #byProducer = new Map<number, AbortedTransaction[]>()

  /** @returns `undefined` when there are none @throws CORRUPT_INDEX, DIRECTORY_NOT_FOUND, IO_ERROR */
  static read(directory: string): AbortedTransactions | undefined {
    let found: AbortedTransactions | undefined
    for (const name of listDirectory(directory).sort()) {
      if (parseSegmentFileName(name)?.suffix !== 'txnindex') continue
      for (const transaction of readFile(join(directory, name))) {
        found ??= new AbortedTransactions()
        found.#add(transaction)
      }
    }
    return found
  }

  #add(transaction: AbortedTransaction): void {
    const list = this.#byProducer.get(transaction.producerId) ?? []
    list.push(transaction)
    this.#byProducer.set(transaction.producerId, list)
  }

  /** A transaction of the producer that was aborted has this offset. Cost: a binary search. */
  covers(producerId: number, offset: number): boolean {
    const list = this.#byProducer.get(producerId)
    if (list === undefined) return false
    let low = 0
    let high = list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((list[middle] as AbortedTransaction).lastOffset < offset) low = middle + 1
      else high = middle
    }
    return (list[low]?.firstOffset ?? Infinity) <= offset
  }

  /** Transactions with records in `[from, to)`, and in front of it: those that end behind `from` and begin before `to`. */
  within(from: number, to: number): AbortedTransaction[] {
    return [...this.#byProducer.values()]
      .flatMap(list => list.filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to))
      .sort((a, b) => a.firstOffset - b.firstOffset)
  }

  /** The records of a batch were taken back. */
  includes(view: DataView, at: number): boolean {
    if (!isTransactional(view, at) || isControlBatch(view, at)) return false
    return this.covers(producerIdOf(view, at), baseOffsetOf(view, at))
  }
}

function readFile(path: string): AbortedTransaction[] {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(error, { path })
  }
  const entries = parseTransactionIndex(Region.of(bytes))
  if (entries === undefined) throw new MillraceError('CORRUPT_INDEX', { path, reason: 'not a transaction index' })
  return entries
}
