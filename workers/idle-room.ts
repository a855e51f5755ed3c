/**
 * Gives back what idle partitions hold ahead of their tails, a few milliseconds at a time: with thousands of partitions it is
 * as many system calls. Owned by a writer's thread.
 */
import { systemClock } from '../engine/base/clock.ts'
import { MillraceError } from '../engine/base/errors.ts'
import type { PartitionHost } from '../engine/log/partition-host.ts'
import type { PartitionLog } from '../engine/log/partition-log.ts'

/** A partition that was not appended to for this long gives back what was allocated ahead of its tail. */
const IDLE_MS = 10_000
/** So long at once. */
const WORK_MS = 2

/** True when there is more to give back than there was time for. */
export function giveBackRoom(hosts: Iterable<PartitionHost>): boolean {
  const untilMs = systemClock.monotonicMs() + WORK_MS
  for (const { log, failure } of hosts) {
    if (failure === undefined && gaveBack(log) && systemClock.monotonicMs() > untilMs) return true
  }
  return false
}

function gaveBack(log: PartitionLog): boolean {
  try {
    return log.releaseAhead(IDLE_MS)
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error
    return false // no descriptor was left for it: the next tick tries again
  }
}
