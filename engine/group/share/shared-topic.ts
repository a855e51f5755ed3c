/**
 * A topic as one share group has it: the share partition of each of its partitions, and the fetches that wait for
 * records. Owned by the broker's thread. Fetches are answered in the order in which they came, partitions take turns;
 * appends, releases, times and finished dead letters wake what waits.
 */
import type { TopicId } from '../../base/brands.ts'
import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { setQueueFloor } from '../../broker/queue-floors.ts'
import type { PartitionLocation } from '../../log/partition-reader.ts'
import { SLOT, STATE } from '../../memory/control-block.ts'
import type { EngineMemory } from '../../memory/engine-memory.ts'
import type { StoredShare } from '../../store/share-states.ts'
import type {
  AcquiredRecords,
  ShareCancelRequest,
  ShareFetchRequest,
  SharePartitionDescription,
} from './share-calls.ts'
import { SharePartition } from './share-partition.ts'
import type { DeadLetter, ShareSettings } from './share-types.ts'
import type { StoredUnit } from './share-writes.ts'

/** What a shared topic asks of who made it. */
export interface SharedTopicHost {
  readonly memory: EngineMemory
  readonly clock: Clock
  /** Something of the share partition changed that has to be stored. */
  changed(partition: HostedShare): void
  deadLetter(partition: HostedShare, letter: DeadLetter): void
  /** The start offset of the share partition is on disk: retention may go as far. */
  stored(partition: HostedShare): void
}

interface Waiter {
  readonly memberId: string
  readonly fetchId: number
  readonly maxRecords: number
  readonly answer: (acquired: readonly AcquiredRecords[]) => void
  readonly fail: (error: MillraceError) => void
  readonly timer: NodeJS.Timeout
}

/** Appends wake; this is for what changes without one, such as a partition that comes back after a repair. */
const WATCH_MS = 1_000
/** Locks and delays end this much late at most, so that many of them share one look. */
const TIMER_MIN_MS = 5
const TIMER_MAX_MS = 0x7fff_ffff

/** A share partition with its place in the log. */
export class HostedShare implements StoredUnit {
  readonly group: string
  readonly topicId: TopicId
  readonly location: PartitionLocation
  readonly share: SharePartition
  isClosed = false
  /** Undefined before anything was stored: then retention keeps everything. */
  storedStartOffset: number | undefined
  /** High watermark when it was last tried to acquire something. */
  seenOffset = -1
  isWatched = false
  readonly #host: SharedTopicHost
  #timer: NodeJS.Timeout | undefined
  #timerMs = 0

  constructor(
    host: SharedTopicHost,
    group: string,
    topicId: TopicId,
    location: PartitionLocation,
    share: SharePartition,
  ) {
    this.#host = host
    this.group = group
    this.topicId = topicId
    this.location = location
    this.share = share
  }

  get partition(): number {
    return this.location.partition
  }

  stored(startOffset: number): void {
    this.storedStartOffset = startOffset
    this.#host.stored(this)
  }

  /** Takes over what became of the log. @returns the high watermark; undefined while the partition does not run */
  sync(): number | undefined {
    const { control } = this.#host.memory
    const { slot, slotGeneration } = this.location
    if (control.get(slot, SLOT.state) !== STATE.online) return undefined
    const logStartOffset = control.get(slot, SLOT.logStartOffset)
    const highWatermark = control.get(slot, SLOT.highWatermark)
    if (control.get(slot, SLOT.slotGeneration) !== slotGeneration) return undefined // the slot has another partition by now
    this.share.logStartMoved(logStartOffset)
    this.share.logCut(highWatermark)
    return highWatermark
  }

  /** After anything was done with the share partition: passes on what came of it, and sets the timer. */
  touched(advanced: () => void): void {
    for (const letter of this.share.takeDeadLetters()) this.#host.deadLetter(this, letter)
    if (this.share.hasChanges) this.#host.changed(this)
    const { idleMs } = this.share
    if (idleMs === Number.POSITIVE_INFINITY || this.isClosed) return
    const atMs = this.#host.clock.monotonicMs() + Math.min(Math.max(idleMs, TIMER_MIN_MS), TIMER_MAX_MS)
    if (this.#timer !== undefined && this.#timerMs <= atMs) return
    clearTimeout(this.#timer)
    this.#timerMs = atMs
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.share.advance()
        this.touched(advanced)
        advanced()
      },
      Math.ceil(atMs - this.#host.clock.monotonicMs()),
    ).unref()
  }

  close(): void {
    this.isClosed = true
    clearTimeout(this.#timer)
  }
}

export class SharedTopic {
  readonly group: string
  readonly topic: string
  readonly topicId: TopicId
  readonly partitions: HostedShare[] = []
  readonly #host: SharedTopicHost
  #waiters: Waiter[] = []
  #turn = 0

  constructor(host: SharedTopicHost, group: string, topic: string, topicId: TopicId) {
    this.#host = host
    this.group = group
    this.topic = topic
    this.topicId = topicId
  }

  /** Takes in a partition: with what is stored of it, or from the earliest record on, which is kept from now on. */
  add(location: PartitionLocation, settings: ShareSettings, stored: StoredShare | undefined): void {
    const { memory, clock } = this.#host
    // The floor first: what the log begins with afterwards is not removed any more.
    if (stored === undefined) setQueueFloor(memory.control, location, 0)
    const from = stored ?? memory.control.get(location.slot, SLOT.logStartOffset)
    const hosted = new HostedShare(
      this.#host,
      this.group,
      this.topicId,
      location,
      new SharePartition(settings, clock, from),
    )
    hosted.storedStartOffset = stored?.facts.startOffset
    this.partitions[location.partition] = hosted
    hosted.share.advance()
    this.touched(hosted)
  }

  configure(settings: ShareSettings): void {
    for (const { share } of this.partitions) share.settings = settings
  }

  /** To be called after anything was done with a share partition. */
  touched(hosted: HostedShare): void {
    hosted.touched(() => this.pump())
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  demand(partition: number): HostedShare {
    const hosted = this.partitions[partition]
    if (hosted === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: this.topic, partition })
    return hosted
  }

  // ── fetching ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Acquires records, from one or several partitions; waits for some where there are none. Empty after the wait. */
  fetch(request: ShareFetchRequest): Promise<readonly AcquiredRecords[]> {
    const { memberId, fetchId, maxRecords, maxWaitMs } = request
    const acquired = this.#waiters.length === 0 ? this.#acquire(memberId, maxRecords) : []
    if (acquired.length > 0 || maxWaitMs === 0) return Promise.resolve(acquired)
    return new Promise((answer, fail) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter(other => other !== waiter)
        answer([])
      }, maxWaitMs)
      const waiter = { memberId, fetchId, maxRecords, answer, fail, timer }
      this.#waiters.push(waiter)
      this.pump()
      for (const hosted of this.partitions) this.#watch(hosted)
    })
  }

  /** Answers fetches that wait, as far as there is something for them. */
  pump(): void {
    while (this.#waiters.length > 0) {
      const { memberId, maxRecords, answer, timer } = this.#waiters[0] as Waiter
      const acquired = this.#acquire(memberId, maxRecords)
      if (acquired.length === 0) return
      this.#waiters.shift()
      clearTimeout(timer)
      answer(acquired)
    }
  }

  #acquire(memberId: string, maxRecords: number): AcquiredRecords[] {
    const acquired: AcquiredRecords[] = []
    const { length } = this.partitions
    let left = maxRecords
    const from = this.#turn++
    for (let index = 0; index < length && left > 0; index++) {
      const hosted = this.partitions[(from + index) % length] as HostedShare
      const highWatermark = hosted.sync()
      if (highWatermark === undefined) continue
      hosted.seenOffset = highWatermark
      const ranges = hosted.share.acquire(memberId, left, highWatermark)
      for (const { firstOffset, lastOffset } of ranges) left -= lastOffset - firstOffset + 1
      if (ranges.length > 0) acquired.push({ partition: hosted.partition, ranges })
      this.touched(hosted)
    }
    return acquired
  }

  /** Looks at a partition's appends while any fetch waits. */
  #watch(hosted: HostedShare): void {
    if (hosted.isWatched) return
    hosted.isWatched = true
    const { memory } = this.#host
    const { slot } = hosted.location
    const hasMoved = (): boolean => memory.control.get(slot, SLOT.highWatermark) !== hosted.seenOffset
    const watching = async (): Promise<void> => {
      while (this.#waiters.length > 0 && !hosted.isClosed && !memory.closed) {
        await memory.waitForReaders(slot, hasMoved, WATCH_MS)
        hosted.seenOffset = memory.control.get(slot, SLOT.highWatermark) // else a log that nobody may read from would be looked at again and again
        this.pump()
      }
      hosted.isWatched = false
    }
    void watching()
  }

  // ── members ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Who waits or holds something. */
  get members(): Set<string> {
    const members = new Set(this.#waiters.map(({ memberId }) => memberId))
    for (const { share } of this.partitions)
      for (const { memberId } of share.runs) if (memberId !== '') members.add(memberId)
    return members
  }

  /** Answers fetches that wait with nothing. */
  #dismiss(test: (waiter: Waiter) => boolean): void {
    const gone = this.#waiters.filter(test)
    this.#waiters = this.#waiters.filter(waiter => !gone.includes(waiter))
    for (const { answer, timer } of gone) {
      clearTimeout(timer)
      answer([])
    }
  }

  cancel({ memberId, fetchId }: ShareCancelRequest): void {
    this.#dismiss(waiter => waiter.memberId === memberId && waiter.fetchId === fetchId)
  }

  /** A member left or died: what it holds is released, and what it waits for is answered with nothing. */
  leave(memberId: string): void {
    this.#dismiss(waiter => waiter.memberId === memberId)
    for (const hosted of this.partitions) if (hosted.share.leave(memberId) > 0) this.touched(hosted)
    this.pump()
  }

  describe(): SharePartitionDescription[] {
    return this.partitions.map(hosted => {
      const highWatermark = hosted.sync()
      hosted.share.advance()
      this.touched(hosted)
      const { startOffset, endOffset, counts } = hosted.share
      const available = counts.available + Math.max(0, (highWatermark ?? endOffset) - endOffset)
      return { partition: hosted.partition, startOffset, endOffset, ...counts, available }
    })
  }

  /** The group or the topic is gone: nothing of it is stored any more, and what waits fails. */
  close(error: MillraceError): void {
    for (const hosted of this.partitions) hosted.close()
    this.failFetches(error)
  }

  failFetches(error: MillraceError): void {
    for (const { fail, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer)
      fail(error)
    }
  }
}
