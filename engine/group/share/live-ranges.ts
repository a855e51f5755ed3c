/** Gathers the first records that a share group has still to do, as neighbours in the same state, up to a number. */
import { RECORD_STATE, type RecordState, type Run } from './live-runs.ts'
import type { LiveRange } from './share-calls.ts'

export const STATE_NAMES = {
  [RECORD_STATE.available]: 'available',
  [RECORD_STATE.acquired]: 'acquired',
  [RECORD_STATE.archiving]: 'archiving',
  [RECORD_STATE.delayed]: 'delayed',
} as const satisfies Record<RecordState, LiveRange['state']>

export class LiveRanges {
  readonly ranges: LiveRange[] = []
  #left: number

  constructor(count: number) {
    this.#left = count
  }

  /** Takes in a partition: what has a run, and what was never acquired. */
  add(
    place: Pick<LiveRange, 'topic' | 'partition'>,
    runs: readonly Run[],
    endOffset: number,
    highWatermark: number,
  ): void {
    for (const { first, end, state, deliveryCount, atMs } of runs) {
      const dueMs = state === RECORD_STATE.delayed ? atMs : 0
      this.#push(place, first, end, { state: STATE_NAMES[state], deliveryCount, dueMs })
    }
    this.#push(place, endOffset, highWatermark, { state: 'available', deliveryCount: 0, dueMs: 0 })
  }

  #push(
    place: Pick<LiveRange, 'topic' | 'partition'>,
    first: number,
    end: number,
    how: Pick<LiveRange, 'state' | 'deliveryCount' | 'dueMs'>,
  ): void {
    const records = Math.min(end - first, this.#left)
    if (records <= 0) return
    this.#left -= records
    this.ranges.push({ ...place, firstOffset: first, lastOffset: first + records - 1, ...how })
  }
}
