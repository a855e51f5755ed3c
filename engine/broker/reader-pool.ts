/**
 * The partition readers of one thread, shared by everything in it that reads the same partition: one set of mappings, and
 * each batch's checksum verified once. One that nobody uses gives its mappings back after a
 * while, so that it pins no deleted file, and is kept for what it has verified.
 */
import { invariant } from '../base/invariant.ts'
import type { PartitionReader } from '../log/partition-reader.ts'

/** Readers without a user that are kept; each holds 2 KiB for each MiB of log that it has verified. */
const IDLE_MAX = 16
/** One reader often follows another; mapping a large segment anew costs milliseconds. */
const UNMAP_MS = 5_000

interface Pooled {
  readonly reader: PartitionReader
  readonly key: string
  users: number
  /** Runs while nobody uses the reader. */
  timer: NodeJS.Timeout | undefined
}

export class ReaderPool {
  readonly #byKey = new Map<string, Pooled>()
  readonly #byReader = new WeakMap<PartitionReader, Pooled>()
  #closed = false

  /** The reader for `key`, made when there is none. Balance with `giveBack`. */
  take(key: string, make: () => PartitionReader): PartitionReader {
    let pooled = this.#byKey.get(key)
    if (pooled === undefined) {
      pooled = { reader: make(), key, users: 0, timer: undefined }
      this.#byReader.set(pooled.reader, pooled)
    }
    this.#byKey.delete(key) // to the young end
    this.#byKey.set(key, pooled)
    pooled.users += 1
    clearTimeout(pooled.timer)
    return pooled.reader
  }

  /** Unmaps what nobody uses, now, and from now on whatever is given back. */
  close(): void {
    this.#closed = true
    for (const { reader, users } of this.#byKey.values()) if (users === 0) reader.unmap()
  }

  giveBack(reader: PartitionReader): void {
    const pooled = this.#byReader.get(reader)
    invariant(pooled !== undefined && pooled.users > 0, 'a reader is given back as often as it was taken')
    pooled.users -= 1
    if (pooled.users > 0) return
    if (this.#closed) reader.unmap()
    else pooled.timer = setTimeout(() => reader.unmap(), UNMAP_MS).unref()
    const idle = [...this.#byKey.values()].filter(({ users }) => users === 0)
    for (const { key, reader: old } of idle.slice(0, Math.max(0, idle.length - IDLE_MAX))) {
      this.#byKey.delete(key)
      old.unmap()
    }
  }
}
