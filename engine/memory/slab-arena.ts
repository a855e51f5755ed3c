/**
 * The memory in which one producer encodes its batches: slabs of equal size, lent to writers one run at a time.
 *
 * The slabs are an anonymous shared mapping rather than a SharedArrayBuffer, because the engine of Node copies shared
 * buffers word by word: 21 ns instead of 7.5 ns for a record of 100 bytes (docs/decisions/0002-slab-memory.md). The
 * producer's thread maps it and unmaps it after every writer has let go of it; the states are in a SharedArrayBuffer.
 *
 *     state word per slab:  FREE (0) ── producer takes a run ──▶ its request's id ── writer has copied it ──▶ FREE
 *
 * Only the producer's thread takes slabs and only the writer that was given a run frees it, so no lock is needed. When the
 * writer dies the producer frees what still carries the ids of requests that were under way. A batch larger than a slab takes neighbouring slabs; it waits until enough neighbours are free, which happens at the latest
 * when all are.
 */
import { invariant } from '../base/invariant.ts'
import type { Region } from '../format/region.ts'
import { foreignRegion } from './mapping.ts'

const FREE = 0

/** What another thread needs to look at the same slabs. */
export interface SlabArenaHandle {
  readonly address: bigint
  readonly slabBytes: number
  readonly slabCount: number
  readonly states: SharedArrayBuffer
}

export class SlabArena {
  readonly region: Region
  readonly slabBytes: number
  readonly slabCount: number
  /** Slabs below it are given out, at most `slabCount`. The producer raises it when it needs more memory. */
  limit: number
  readonly #states: Int32Array
  #next = 0

  constructor(handle: SlabArenaHandle) {
    this.slabBytes = handle.slabBytes
    this.slabCount = handle.slabCount
    this.limit = handle.slabCount
    this.region = foreignRegion(handle.address, handle.slabBytes * handle.slabCount)
    this.#states = new Int32Array(handle.states)
    invariant(this.#states.length >= handle.slabCount, 'every slab has a state')
  }

  /** Slabs that `bytes` take. */
  slabsFor(bytes: number): number {
    return Math.ceil(bytes / this.slabBytes)
  }

  /**
   * Takes `count` neighbouring slabs for the request `id`, which is not 0. Producer's thread only.
   * @returns the index of the first, -1 when there is no such run
   */
  take(count: number, id: number): number {
    const { limit } = this
    let run = 0
    let slab = this.#next < limit ? this.#next : 0
    // Once round, and as far again as a run may reach that lies across the place where the search began.
    for (let tried = 0; tried < limit + count - 1; tried++) {
      if (slab === limit) {
        slab = 0
        run = 0 // no run goes round the end
      }
      run = Atomics.load(this.#states, slab) === FREE ? run + 1 : 0
      slab += 1
      if (run < count) continue
      this.#next = slab
      for (let taken = slab - count; taken < slab; taken++) Atomics.store(this.#states, taken, id)
      return slab - count
    }
    return -1
  }

  /** Gives a run back. By the writer after its copy, or by the producer for a run that it never handed over. */
  free(first: number, count: number): void {
    for (let slab = first; slab < first + count; slab++) Atomics.store(this.#states, slab, FREE)
  }

  /** Gives back what the request `id` still holds of a run, after the writer that should have done it died. */
  freeHeldBy(first: number, count: number, id: number): void {
    for (let slab = first; slab < first + count; slab++) Atomics.compareExchange(this.#states, slab, id, FREE)
  }

  /** Free slabs below the limit; stops counting at `enough`. */
  freeCount(enough = this.limit): number {
    let count = 0
    for (let slab = 0; slab < this.limit && count < enough; slab++) {
      if (Atomics.load(this.#states, slab) === FREE) count += 1
    }
    return count
  }
}
