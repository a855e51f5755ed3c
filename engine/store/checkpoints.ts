/**
 * What is known of a partition's log without reading it. Database `checkpoints`: (topic id, partition) →
 * {recoveryPoint, logStartOffset, highWatermark, leaderEpoch, cleanedOffset?, truncateTo?, producers?, segments?}. `truncateTo` is there
 * while the log is being cut. The last two are written at a clean close, so that a clean open scans nothing; `segments` has one
 * row of nine numbers a segment in the order of SegmentCheckpoint.
 * Owned by the broker's thread. Invariant: a checkpoint never runs ahead of the log, so it is put after the log was
 * flushed; the newest one that was handed in is the one that stays.
 */
import type { TopicId } from '../base/brands.ts'
import { failpoint } from '../base/failpoints.ts'
import { invariant } from '../base/invariant.ts'
import type { Environment } from './environment.ts'
import { partitionKey, partitionOfKey, prefixRange, topicIdBytes } from './keys.ts'
import type { Table } from './table.ts'
import type { TopicStore } from './topics.ts'
import { isInteger, isObject } from './values.ts'

/** A segment as it was at a clean close. */
export interface SegmentCheckpoint {
  readonly baseOffset: number
  readonly sizeBytes: number
  /** Offset after the last record. */
  readonly nextOffset: number
  /** -1 in a segment without records, like the offset that has it. */
  readonly maxTimestamp: number
  readonly maxTimestampOffset: number
  /** Timestamp of the first batch, from which `segment.ms` counts; -1 when that is not known. */
  readonly firstTimestamp: number
  readonly offsetEntries: number
  readonly timeEntries: number
  /** Position up to which the indexes cover the log. */
  readonly indexedPosition: number
}

export interface PartitionCheckpoint {
  /** Everything below it was flushed. */
  readonly recoveryPoint: number
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly leaderEpoch: number
  /** Everything below it was compacted; absent when nothing was. */
  readonly cleanedOffset?: number
  /** The log is to be cut here before anything else is done with it; absent when it is not. */
  readonly truncateTo?: number
  /** Idempotent producers that are known, which a snapshot at the end of the log describes; absent when there are none. */
  readonly producers?: number
  /** In the order of their base offsets; absent unless the partition was closed cleanly. */
  readonly segments?: readonly SegmentCheckpoint[]
}

export interface CheckpointEntry {
  readonly topicId: TopicId
  readonly partition: number
  readonly checkpoint: PartitionCheckpoint
}

/** A checkpoint as it is stored, its segments as rows. */
export interface StoredCheckpoint {
  readonly recoveryPoint: number
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly leaderEpoch: number
  readonly cleanedOffset?: number
  readonly truncateTo?: number
  readonly producers?: number
  readonly segments?: readonly SegmentRow[]
}

/** The fields of SegmentCheckpoint in their order. */
type SegmentRow = readonly [number, number, number, number, number, number, number, number, number]

const SEGMENT_ROW_LENGTH = 9

export function readCheckpoint(json: unknown): StoredCheckpoint | undefined {
  if (!isObject(json)) return undefined
  const { recoveryPoint, logStartOffset, highWatermark, leaderEpoch, segments } = json
  if (!isInteger(recoveryPoint) || !isInteger(logStartOffset)) return undefined
  if (!isInteger(highWatermark) || !isInteger(leaderEpoch)) return undefined
  const optional: { cleanedOffset?: number; truncateTo?: number; producers?: number } = {}
  for (const name of ['cleanedOffset', 'truncateTo', 'producers'] as const) {
    const value = json[name]
    if (value === undefined) continue
    if (!isInteger(value)) return undefined
    optional[name] = value
  }
  const checkpoint = { recoveryPoint, logStartOffset, highWatermark, leaderEpoch, ...optional }
  if (segments === undefined) return checkpoint
  return Array.isArray(segments) && segments.every(isSegmentRow) ? { ...checkpoint, segments } : undefined
}

export class CheckpointStore {
  readonly #environment: Environment
  readonly #table: Table<StoredCheckpoint>
  readonly #topics: TopicStore
  #underWay = 0

  constructor(environment: Environment, table: Table<StoredCheckpoint>, topics: TopicStore) {
    this.#environment = environment
    this.#table = table
    this.#topics = topics
  }

  /** Undefined when the partition never had one. @throws CORRUPT_STORE */
  get(topicId: TopicId, partition: number): PartitionCheckpoint | undefined {
    const stored = this.#table.get(partitionKey(topicId, partition))
    return stored && fromStored(stored)
  }

  /** The checkpoints of a topic by partition. @throws CORRUPT_STORE */
  ofTopic(topicId: TopicId): Map<number, PartitionCheckpoint> {
    const entries = this.#table.entries(prefixRange(topicIdBytes(topicId)))
    return new Map(entries.map(({ key, value }) => [partitionOfKey(key), fromStored(value)]))
  }

  /**
   * Stores checkpoints in one transaction; those of topics that were deleted meanwhile are left out.
   * @returns resolves when they are on disk
   */
  async put(entries: readonly CheckpointEntry[]): Promise<void> {
    failpoint('checkpoint-before-put')
    const writes = this.#live(entries).map(({ topicId, partition, checkpoint }) =>
      this.#table.putLater(partitionKey(topicId, partition), toStored(checkpoint)),
    )
    if (writes.length === 0) return
    this.#underWay++
    try {
      await this.#environment.submit(writes)
    } finally {
      this.#underWay--
    }
  }

  /**
   * Stores checkpoints in one transaction, on disk when this returns. Only while no `put` is under way: an older
   * checkpoint that lands later would replace a newer one.
   */
  putSync(entries: readonly CheckpointEntry[]): void {
    invariant(this.#underWay === 0, 'putSync while a put of checkpoints is under way')
    failpoint('checkpoint-before-put')
    this.#environment.transact(() => {
      for (const { topicId, partition, checkpoint } of this.#live(entries)) {
        this.#table.put(partitionKey(topicId, partition), toStored(checkpoint))
      }
    })
  }

  /** Stores the checkpoints of a topic that is being created, within the transaction that is open. */
  putWithin(entries: readonly CheckpointEntry[]): void {
    for (const { topicId, partition, checkpoint } of entries) {
      this.#table.put(partitionKey(topicId, partition), toStored(checkpoint))
    }
  }

  /** Forgets all partitions of a topic, within the transaction that is open. */
  removeTopic(topicId: TopicId): void {
    this.#table.removeRange(prefixRange(topicIdBytes(topicId)))
  }

  #live(entries: readonly CheckpointEntry[]): CheckpointEntry[] {
    return entries.filter(entry => this.#topics.isLive(entry.topicId))
  }
}

function toStored(checkpoint: PartitionCheckpoint): StoredCheckpoint {
  const { segments, ...facts } = checkpoint
  const stored = {
    ...facts,
    ...(segments === undefined ? {} : { segments: segments.map(toRow) }),
  }
  // JSON would turn NaN into null, which only the next open would notice.
  invariant(readCheckpoint(stored) !== undefined, 'a checkpoint with a number that is no safe integer')
  return stored
}

function fromStored({ segments, ...checkpoint }: StoredCheckpoint): PartitionCheckpoint {
  return segments === undefined ? checkpoint : { ...checkpoint, segments: segments.map(fromRow) }
}

const FIELDS = [
  'baseOffset',
  'sizeBytes',
  'nextOffset',
  'maxTimestamp',
  'maxTimestampOffset',
  'firstTimestamp',
  'offsetEntries',
  'timeEntries',
  'indexedPosition',
] as const satisfies readonly (keyof SegmentCheckpoint)[]

function toRow(segment: SegmentCheckpoint): SegmentRow {
  return FIELDS.map(field => segment[field]) as unknown as SegmentRow
}

function fromRow(row: SegmentRow): SegmentCheckpoint {
  return Object.fromEntries(FIELDS.map((field, index) => [field, row[index]])) as unknown as SegmentCheckpoint
}

function isSegmentRow(json: unknown): json is SegmentRow {
  return Array.isArray(json) && json.length === SEGMENT_ROW_LENGTH && json.every(isInteger)
}
