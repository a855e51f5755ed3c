/**
 * Committed offsets of consumer groups. Database `offsets`: (group, topic id, partition) →
 * {offset, leaderEpoch, metadata, committedAtMs}. `offset` is the next record to be consumed, `leaderEpoch` that of the
 * last one consumed, -1 when unknown.
 * Owned by the broker's thread; commits are batched into group commits. Invariant: the newest commit that was handed in
 * stays, and none stays for a topic that is gone.
 *
 * The group stands first in the key because a starting consumer reads all of its group. What is asked by topic, rarely,
 * goes from group to group with one seek each.
 */

import type { TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { OFFSET_METADATA_BYTES_MAX } from '../base/limits.ts'
import type { Environment } from './environment.ts'
import {
  ALL_KEYS,
  groupPrefix,
  type KeyRange,
  PARTITION_KEY_BYTES,
  partitionKey,
  partitionOfKey,
  prefixRange,
  topicIdBytes,
  topicIdOfKey,
} from './keys.ts'
import type { Table } from './table.ts'
import type { TopicStore } from './topics.ts'
import { isInteger, isObject, isText } from './values.ts'
import type { Write } from './write-queue.ts'

export interface CommittedOffset {
  /** The next record to be consumed. */
  readonly offset: number
  /** Of the last record consumed; -1 when unknown. */
  readonly leaderEpoch: number
  /** The consumer's own text, at most 4096 bytes. */
  readonly metadata: string
  readonly committedAtMs: number
}

export interface PartitionOffset extends CommittedOffset {
  readonly topicId: TopicId
  readonly partition: number
}

/** A commit that is yet to be made. */
export type UncommittedOffset = Omit<PartitionOffset, 'committedAtMs'>

/** A committed offset that lay above the end of a recovered log. */
export interface ClampedOffset {
  readonly group: string
  readonly topicId: TopicId
  readonly partition: number
  readonly from: number
  readonly to: number
}

/** Where the log of a recovered partition ends. */
export interface PartitionEnd {
  readonly topicId: TopicId
  readonly partition: number
  readonly logEndOffset: number
}

interface Excess {
  readonly key: Buffer
  readonly value: CommittedOffset
  readonly logEndOffset: number
}

export function readCommittedOffset(json: unknown): CommittedOffset | undefined {
  if (!isObject(json)) return undefined
  const { offset, leaderEpoch, metadata, committedAtMs } = json
  if (!isInteger(offset) || !isInteger(leaderEpoch) || !isText(metadata) || !isInteger(committedAtMs)) return undefined
  return { offset, leaderEpoch, metadata, committedAtMs }
}

export class OffsetStore {
  readonly #environment: Environment
  readonly #table: Table<CommittedOffset>
  readonly #topics: TopicStore

  constructor(environment: Environment, table: Table<CommittedOffset>, topics: TopicStore) {
    this.#environment = environment
    this.#table = table
    this.#topics = topics
  }

  /**
   * Commits offsets of a group, all in one transaction.
   * @returns resolves when they are on disk
   * @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT, BACK_PRESSURE, DISK_FULL; then none of them was committed
   */
  async commit(group: string, offsets: readonly PartitionOffset[]): Promise<void> {
    const prefix = groupPrefix(group)
    const writes = offsets.map(offset => this.#put(prefix, offset, offset.committedAtMs))
    if (writes.length > 0) await this.#environment.submit(writes)
  }

  /** Whether `commit` would take these. @throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_ARGUMENT */
  demandCommittable(offsets: readonly UncommittedOffset[]): void {
    for (const { topicId, partition, metadata } of offsets) {
      if (!this.#topics.isLive(topicId)) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topicId, partition })
      checkMetadata(metadata)
    }
  }

  /**
   * `commit` for callers with very many at a time: commits that share a transaction share the promise that is returned, so
   * that one of them is enough to wait for, and what is wrong is thrown at once.
   */
  submit(group: string, offsets: readonly UncommittedOffset[], committedAtMs: number): Promise<void> {
    const prefix = groupPrefix(group)
    const writes: Write[] = []
    for (const offset of offsets) writes.push(this.#put(prefix, offset, committedAtMs))
    return this.#environment.submit(writes)
  }

  #put(prefix: Buffer, { topicId, partition, offset, leaderEpoch, metadata }: UncommittedOffset, atMs: number): Write {
    if (!this.#topics.isLive(topicId)) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topicId, partition })
    checkMetadata(metadata)
    invariant(
      isInteger(offset) && isInteger(leaderEpoch) && isInteger(atMs),
      'a committed offset that is no safe integer',
    )
    // By hand, in half the time of JSON.stringify.
    const text = metadata === '' ? '""' : JSON.stringify(metadata)
    const json = `{"offset":${offset},"leaderEpoch":${leaderEpoch},"metadata":${text},"committedAtMs":${atMs}}`
    return this.#table.putTextLater(partitionKey(topicId, partition, prefix), json)
  }

  /** Undefined when the group committed nothing for the partition. @throws CORRUPT_STORE */
  get(group: string, topicId: TopicId, partition: number): CommittedOffset | undefined {
    return this.#table.get(partitionKey(topicId, partition, groupPrefix(group)))
  }

  /** All that a group committed, by topic id and partition. @throws CORRUPT_STORE */
  ofGroup(group: string): PartitionOffset[] {
    return this.#table
      .entries(prefixRange(groupPrefix(group)))
      .map(({ key, value }) => ({ topicId: topicIdOfKey(key), partition: partitionOfKey(key), ...value }))
  }

  hasCommits(group: string): boolean {
    return this.#table.firstKey(prefixRange(groupPrefix(group))) !== undefined
  }

  /**
   * Forgets those commits that are still to be forgotten when everything that was submitted before is on disk: a newer
   * commit of a partition may be among that.
   * @returns how many went
   */
  deleteIf(
    group: string,
    partitions: readonly { topicId: TopicId; partition: number }[],
    isOver: (topicId: TopicId, committedAtMs: number) => boolean,
  ): Promise<number> {
    const prefix = groupPrefix(group)
    return this.#environment.transactLater(() => {
      let count = 0
      for (const { topicId, partition } of partitions) {
        const key = partitionKey(topicId, partition, prefix)
        const value = this.#table.get(key)
        if (value === undefined || !isOver(topicId, value.committedAtMs)) continue
        this.#table.remove(key)
        count++
      }
      return count
    })
  }

  /** The groups that have committed offsets. */
  groups(): string[] {
    return [...this.#groupPrefixes()].map(prefix => groupPrefixText(prefix))
  }

  /** Forgets a group's commits for some partitions, behind all that was submitted before; resolves when on disk. */
  async delete(group: string, partitions: readonly { topicId: TopicId; partition: number }[]): Promise<void> {
    const prefix = groupPrefix(group)
    const writes = partitions.map(p => this.#table.removeLater(partitionKey(p.topicId, p.partition, prefix)))
    if (writes.length > 0) await this.#environment.submit(writes)
  }

  /** Forgets a group, behind all that was submitted before; resolves when it is on disk. */
  deleteGroup(group: string): Promise<void> {
    return this.#environment.transactLater(() => this.removeGroup(group))
  }

  /** Forgets a group within the transaction that is open. */
  removeGroup(group: string): void {
    this.#table.removeRange(prefixRange(groupPrefix(group)))
  }

  /**
   * Lowers the commits of a partition that are above the end of its log, as they may be after a recovery; on disk when
   * this returns. The epoch of a lowered commit is unknown (-1). For use before any commit is accepted.
   * @returns what was lowered
   * Cost: a seek and a read for each group; for many partitions at once use `clampAllOffsets`
   */
  clampOffsets(topicId: TopicId, partition: number, logEndOffset: number): ClampedOffset[] {
    const excess: Excess[] = []
    for (const prefix of this.#groupPrefixes()) {
      const key = partitionKey(topicId, partition, prefix)
      const value = this.#table.get(key)
      if (value !== undefined && value.offset > logEndOffset) excess.push({ key, value, logEndOffset })
    }
    return this.#lower(excess)
  }

  /** `clampOffsets` of any number of partitions, in one pass over all commits and one transaction. */
  clampAllOffsets(ends: readonly PartitionEnd[]): ClampedOffset[] {
    const endOf = new Map(ends.map(end => [endKey(end.topicId, end.partition), end.logEndOffset]))
    const excess: Excess[] = []
    for (const { key, value } of this.#table.entries(ALL_KEYS)) {
      const logEndOffset = endOf.get(endKey(topicIdOfKey(key), partitionOfKey(key)))
      if (logEndOffset !== undefined && value.offset > logEndOffset) excess.push({ key, value, logEndOffset })
    }
    return this.#lower(excess)
  }

  /** Forgets what all groups committed for a topic, within the transaction that is open. */
  removeTopic(topicId: TopicId): void {
    const id = topicIdBytes(topicId)
    for (const prefix of [...this.#groupPrefixes()]) this.#table.removeRange(prefixRange(Buffer.concat([prefix, id])))
  }

  #lower(excess: readonly Excess[]): ClampedOffset[] {
    if (excess.length === 0) return []
    this.#environment.transact(() => {
      for (const { key, value, logEndOffset } of excess) {
        this.#table.put(key, { ...value, offset: logEndOffset, leaderEpoch: -1 })
      }
    })
    return excess.map(({ key, value, logEndOffset }) => ({
      group: groupPrefixText(key.subarray(0, key.length - PARTITION_KEY_BYTES)),
      topicId: topicIdOfKey(key),
      partition: partitionOfKey(key),
      from: value.offset,
      to: logEndOffset,
    }))
  }

  /** `group length | group` of each group: from the first key of one straight to the first key behind it. */
  *#groupPrefixes(): Generator<Buffer> {
    let range: KeyRange | undefined = ALL_KEYS
    while (range !== undefined) {
      const key = this.#table.firstKey(range)
      if (key === undefined) return
      const prefix = key.subarray(0, key.length - PARTITION_KEY_BYTES)
      if (prefix.length < 2 || prefix.readUInt16BE() !== prefix.length - 2 || key.compare(range.start) < 0) {
        throw new MillraceError('CORRUPT_STORE', { database: 'offsets', key: key.toString('hex'), reason: 'key' })
      }
      yield prefix
      const { end } = prefixRange(prefix)
      range = end && { start: end, end: undefined }
    }
  }
}

function endKey(topicId: TopicId, partition: number): string {
  return `${topicId}-${partition}`
}

function groupPrefixText(prefix: Buffer): string {
  return prefix.toString('utf8', 2)
}

function checkMetadata(metadata: string): void {
  if (3 * metadata.length <= OFFSET_METADATA_BYTES_MAX) return
  const bytes = Buffer.byteLength(metadata)
  if (bytes <= OFFSET_METADATA_BYTES_MAX) return
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'metadata', bytes, bytesMax: OFFSET_METADATA_BYTES_MAX })
}
