/**
 * The flusher thread: makes logs durable without holding their writers up. One flush covers everything that was
 * appended before it began, so all appends that wait for it are acknowledged together (group commit).
 *
 * A failed flush is answered as FLUSH_FAILED and never tried again on the same descriptor: the kernel drops the dirty
 * pages and the next call would report success. The folder is flushed before the first flush of each new file, so that
 * the file itself cannot vanish.
 */
import { closeSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync } from 'node:fs'
import { MillraceError } from '../engine/base/errors.ts'
import { failpoint } from '../engine/base/failpoints.ts'
import type { LeftOpen, ServiceStart } from '../engine/log/mail.ts'
import { finishProducerSnapshot } from '../engine/log/producer-snapshot-file.ts'
import { SYNC_TOGETHER_MIN, syncFiles } from '../engine/log/sync-files.ts'
import { SLOT } from '../engine/memory/control-block.ts'
import { unmap } from '../engine/memory/libc.ts'
import { SEGMENT } from '../engine/memory/segment-table.ts'
import { ORDER, type ServiceMessage } from '../engine/memory/service-ring.ts'
import { replyTo, ServiceLoop } from './service-loop.ts'

interface Flush {
  readonly message: ServiceMessage
  readonly answer: (reply: ServiceMessage) => void
}

class FlusherLoop extends ServiceLoop {
  /** Base offset of the newest segment whose folder entry is known to be on the disk, by slot. */
  readonly #folderSynced = new Map<number, number>()

  /** The engine is closing: flushes are collected, since thousands of partitions may have one left. */
  #settling = false
  readonly #collected: Flush[] = []

  protected override order(message: ServiceMessage, answer: (reply: ServiceMessage) => void): void {
    if (message.kind === ORDER.flush && this.#settling) {
      this.#collected.push({ message, answer })
      return
    }
    this.#flushCollected() // before a seal closes a descriptor
    if (message.kind === ORDER.flush) this.#flush(message, answer)
    else if (message.kind === ORDER.snapshot) this.#snapshot(message)
    else this.#seal(message, answer)
  }

  protected override settle(): void {
    this.#settling = true
  }

  protected override work(): boolean {
    return !this.ordersWaiting && this.#flushCollected()
  }

  #flushCollected(): boolean {
    const flushes = this.#collected.splice(0)
    if (flushes.length >= SYNC_TOGETHER_MIN) this.#flushTogether(flushes)
    else for (const { message, answer } of flushes) this.#flush(message, answer)
    return flushes.length > 0
  }

  #flushTogether(flushes: readonly Flush[]): void {
    const targets = flushes.map(({ message }) => this.#target(message)) // before the sync begins
    failpoint('flush-before-sync')
    const errors = syncFiles(flushes.map(({ message }) => message.fd))
    failpoint('flush-after-sync')
    for (const [index, { message, answer }] of flushes.entries()) {
      try {
        const error = errors[index]
        if (error !== undefined) throw error
        if (this.#folderSynced.get(message.slot) !== message.b) this.#syncFolder(message, message.b)
        answer(replyTo(message, targets[index] as number))
      } catch (error) {
        answer(replyTo(message, 0, new MillraceError('FLUSH_FAILED', {}, error)))
      }
    }
  }

  #flush(message: ServiceMessage, answer: (reply: ServiceMessage) => void): void {
    try {
      if (this.#folderSynced.get(message.slot) !== message.b) this.#syncFolder(message, message.b)
      const target = this.#target(message)
      failpoint('flush-before-sync')
      fdatasyncSync(message.fd)
      failpoint('flush-after-sync')
      answer(replyTo(message, target))
    } catch (error) {
      answer(replyTo(message, 0, new MillraceError('FLUSH_FAILED', {}, error)))
    }
  }

  /**
   * What is published before the flush begins is covered by it: as much as there is, not only what the order named. Unless
   * the log has rolled since: then this descriptor does not hold the newest records.
   */
  #target(message: ServiceMessage): number {
    const { control, segments } = this.memory
    const logEndOffset = control.get(message.slot, SLOT.logEndOffset)
    const tail = control.get(message.slot, SLOT.tailSegment)
    const rolled = tail < 0 || segments.get(tail, SEGMENT.baseOffset) !== message.b
    return rolled ? message.a : Math.max(message.a, logEndOffset)
  }

  /** Flushes a closed segment, cuts it to its length, unmaps and closes it. */
  #seal(message: ServiceMessage, answer: (reply: ServiceMessage) => void): void {
    let failure: unknown
    try {
      fdatasyncSync(message.fd)
      failpoint('seal-before-cut')
      ftruncateSync(message.fd, message.a)
      this.#syncFolder(message, undefined)
    } catch (error) {
      failure = new MillraceError('FLUSH_FAILED', {}, error)
    }
    unmap(BigInt(message.b), message.c)
    if (message.fd !== -1) closeSync(message.fd)
    answer(replyTo(message, 0, failure))
  }

  /** The seal that follows syncs the folder. Recovery does without a snapshot, so one that fails is only told. */
  #snapshot(message: ServiceMessage): void {
    const partition = this.partition(message)
    if (partition === undefined) return
    try {
      finishProducerSnapshot(partition.directory, message.a)
    } catch (error) {
      this.warn(error)
    }
  }

  #syncFolder(message: ServiceMessage, baseOffset: number | undefined): void {
    const partition = this.partition(message)
    if (partition === undefined) return // the topic is being deleted
    const fd = openSync(partition.directory, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    if (baseOffset !== undefined) this.#folderSynced.set(message.slot, baseOffset)
  }

  protected override forget(slot: number): void {
    this.#folderSynced.delete(slot)
  }

  protected override closeLeft(left: readonly LeftOpen[]): void {
    this.#flushCollected()
    for (const { fd, address, mappedBytes } of left) {
      unmap(BigInt(address), mappedBytes)
      if (fd !== -1) closeSync(fd)
    }
  }
}

/** Piscina's entry point: runs until the engine stops. */
export default function runFlusher(start: ServiceStart): Promise<void> {
  return new FlusherLoop(start).run()
}
