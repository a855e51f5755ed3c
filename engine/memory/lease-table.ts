/**
 * Leases that brokers of one machine hold, in a file that each of them maps: who is alive can be told, and said, without any
 * lock, so a process that stopped while it held one takes nobody else with it.
 *
 *     header   magic | boot (hash of the boot id) | revision | writer (process id) | 4 words unused
 *     slot     end | lease id | process id | 1 word unused                      64-bit words, little-endian
 *
 * `end` decides. It is 0 in a free slot, else the millisecond on CLOCK_BOOTTIME at which the lease is over, and -1 once somebody
 * found it over. It changes by compare-and-swap alone, so of a late keep-alive and the one who ends the lease exactly one wins:
 *
 *     free ──take──▶ end ──keep──▶ later end ──… nobody kept it …──▶ end is past ──finish──▶ -1 ──free──▶ free
 *
 * A lease of another boot is over: its times count from elsewhere. The revision and the writer are hints for those who watch
 * (metadata store): a change is to be looked for, and who has the write lock.
 */
import { createHash } from 'node:crypto'
import { MillraceError } from '../base/errors.ts'
import { bootTimeMs } from './libc.ts'
import { Mapping } from './mapping.ts'

const MAGIC = 0x4d49_4c4c_4c45_4153n // "MILLLEAS"
const HEADER = { magic: 0, boot: 1, revision: 2, writer: 3, words: 8 } as const
const SLOT = { end: 0, id: 1, process: 2, words: 4 } as const
const FINISHED = -1n
const FREE = 0n

/** Leases at once; a broker has one. */
export const LEASES_MAX = 1020
const BYTES = (HEADER.words + LEASES_MAX * SLOT.words) * 8

/** A lease that is over and whose slot is to be given back. */
export interface FinishedLease {
  readonly slot: number
  readonly id: number
}

export class LeaseTable {
  readonly #mapping: Mapping
  readonly #words: BigInt64Array

  private constructor(mapping: Mapping) {
    this.#mapping = mapping
    this.#words = new BigInt64Array(mapping.region.bytes.buffer, 0, BYTES / 8)
  }

  /**
   * Maps the file, and creates it if need be. Nobody else may open it at the same time.
   * @param boot identity of this boot of the machine
   * @throws CORRUPT_STORE when it is something else; IO_ERROR, DISK_FULL
   */
  static open(path: string, boot: string): LeaseTable {
    const table = new LeaseTable(Mapping.create(path, BYTES, true))
    const words = table.#words
    const magic = Atomics.load(words, HEADER.magic)
    if (magic !== 0n && magic !== MAGIC) {
      table.close()
      throw new MillraceError('CORRUPT_STORE', { path, reason: 'not a table of leases' })
    }
    const hash = createHash('sha256').update(boot).digest().readBigInt64LE()
    if (Atomics.load(words, HEADER.boot) !== hash) {
      for (let slot = 0; slot < LEASES_MAX; slot++) table.#finishWhatever(slot)
      Atomics.store(words, HEADER.boot, hash)
    }
    Atomics.store(words, HEADER.magic, MAGIC)
    return table
  }

  /** Takes a slot for a lease; undefined when all are taken. */
  take(id: number, ms: number): number | undefined {
    const end = BigInt(bootTimeMs() + ms)
    for (let slot = 0; slot < LEASES_MAX; slot++) {
      if (Atomics.compareExchange(this.#words, at(slot, SLOT.end), FREE, end) !== FREE) continue
      Atomics.store(this.#words, at(slot, SLOT.id), BigInt(id))
      Atomics.store(this.#words, at(slot, SLOT.process), BigInt(process.pid))
      return slot
    }
    return undefined
  }

  /** Puts the end of a lease off to `ms` from now, and returns it (CLOCK_BOOTTIME); undefined when the lease is over. */
  keep(slot: number, id: number, ms: number): number | undefined {
    const now = bootTimeMs()
    const end = Atomics.load(this.#words, at(slot, SLOT.end))
    if (end <= BigInt(now) || !this.#isOf(slot, id)) return undefined
    const later = BigInt(now + ms)
    if (Atomics.compareExchange(this.#words, at(slot, SLOT.end), end, later) !== end) return undefined
    return now + ms
  }

  /** Whether a lease goes on at this moment. */
  isAlive(slot: number, id: number): boolean {
    return this.#isOf(slot, id) && Atomics.load(this.#words, at(slot, SLOT.end)) > BigInt(bootTimeMs())
  }

  /** Ends a lease early. */
  end(slot: number, id: number): void {
    const end = Atomics.load(this.#words, at(slot, SLOT.end))
    if (end > FREE && this.#isOf(slot, id)) Atomics.compareExchange(this.#words, at(slot, SLOT.end), end, FINISHED)
  }

  /** Whether `finish` would find something. Cost: one load a slot. */
  get hasFinished(): boolean {
    const now = BigInt(bootTimeMs())
    for (let slot = 0; slot < LEASES_MAX; slot++) {
      const end = Atomics.load(this.#words, at(slot, SLOT.end))
      if (end !== FREE && end <= now) return true
    }
    return false
  }

  /** Finishes the leases whose time is over, and returns all that are finished and not free yet. */
  finish(): FinishedLease[] {
    const now = BigInt(bootTimeMs())
    const finished: FinishedLease[] = []
    for (let slot = 0; slot < LEASES_MAX; slot++) {
      const end = Atomics.load(this.#words, at(slot, SLOT.end))
      if (end === FREE || end > now) continue
      if (end !== FINISHED && Atomics.compareExchange(this.#words, at(slot, SLOT.end), end, FINISHED) !== end) continue
      finished.push({ slot, id: Number(Atomics.load(this.#words, at(slot, SLOT.id))) })
    }
    return finished
  }

  /** Gives the slot of a finished lease back, once nothing rests on it any more. */
  free(slot: number): void {
    Atomics.store(this.#words, at(slot, SLOT.id), 0n)
    Atomics.store(this.#words, at(slot, SLOT.process), 0n)
    Atomics.compareExchange(this.#words, at(slot, SLOT.end), FINISHED, FREE)
  }

  /** The last revision that a writer told of. */
  get revision(): number {
    return Number(Atomics.load(this.#words, HEADER.revision))
  }

  tell(revision: number): void {
    Atomics.store(this.#words, HEADER.revision, BigInt(revision))
  }

  /** Process that has the write lock, 0 for none; a guess when that process was killed. */
  get writer(): number {
    return Number(Atomics.load(this.#words, HEADER.writer))
  }

  set writer(pid: number) {
    Atomics.store(this.#words, HEADER.writer, BigInt(pid))
  }

  close(): void {
    this.#mapping.release()
  }

  #isOf(slot: number, id: number): boolean {
    return Atomics.load(this.#words, at(slot, SLOT.id)) === BigInt(id)
  }

  #finishWhatever(slot: number): void {
    const end = Atomics.load(this.#words, at(slot, SLOT.end))
    if (end !== FREE) Atomics.compareExchange(this.#words, at(slot, SLOT.end), end, FINISHED)
  }
}

const at = (slot: number, word: number): number => HEADER.words + slot * SLOT.words + word
