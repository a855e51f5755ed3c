/**
 * One side of a comparison, the engine's work or the physical bound beside it, as something that runs in rounds. A round
 * times itself, so that preparing memory and checking results stay outside the clock.
 */
export interface Side {
  /** What one round does, in the case's unit (records, bytes, lookups); 1 where the round gives a latency. */
  readonly work: number
  /** Not timed, before every round, after garbage was collected: fresh topics, prefaulted memory, code that was thrown away with it. */
  prepare?(): void | Promise<void>
  /** One timed round: the milliseconds that `work` took; for a latency, the round's own median in milliseconds. */
  round(): number | Promise<number>
  /** Once, after the last round, also when a round failed. */
  close?(): void | Promise<void>
}

/** The rounds of one side, in milliseconds. */
export interface RoundTimes {
  readonly work: number
  readonly medianMs: number
  readonly fastestMs: number
  readonly slowestMs: number
}

/** Units of work per second at the median round. */
export const ratePerSecond = (times: RoundTimes): number => (times.work * 1000) / times.medianMs

/** The middle value, or the mean of the two middle ones; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}
