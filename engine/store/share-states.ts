/**
 * What share groups have done and have still to do. Owned by the broker's thread; states are batched into group commits.
 *
 *     share-groups       group → {lockDurationMs, deliveryCountLimit, recordLocksMax, delayedRecordsMax, deadLetterTopic}
 *     share-partitions   (group, topic id, partition) → {startOffset, endOffset, accepted, deadLettered}
 *     share-runs         (group, topic id, partition, block) → rows of the live records in a block of 1,024 offsets
 *
 * Below `startOffset` everything is finished, from `endOffset` on nothing was ever handed out. In between what has a row
 * is still to be done, and what has none is finished. Invariants: facts and rows that belong together are written in one
 * transaction, and none stays for a topic or a group that is gone.
 */
import type { TopicId } from '../base/brands.ts'
import { invariant } from '../base/invariant.ts'
import type { Environment } from './environment.ts'
import {
  ALL_KEYS,
  blockOfKey,
  groupOfKey,
  PARTITION_KEY_BYTES,
  partitionKey,
  partitionOfKey,
  prefixRange,
  shareGroupPrefix,
  topicIdBytes,
  topicIdOfKey,
  u64Key,
} from './keys.ts'
import type { Table } from './table.ts'
import type { TopicStore } from './topics.ts'
import { isInteger, isObject, isText } from './values.ts'
import type { Write } from './write-queue.ts'

/** Offsets of one value of `share-runs`: few enough that it is some kilobytes at most, whatever is in it. */
export const SHARE_BLOCK_OFFSETS = 1_024

/** Kafka's numbers of the record states that are stored; `delayed` is one that is available later. */
export const STORED_RECORD_STATE = { available: 0, archiving: 3, delayed: 5 } as const

/** A run of live records: first offset relative to its block, records, state, delivery count, due time (ms, 0 for none). */
export type RunRow = readonly [number, number, number, number, number]

export interface ShareGroupConfig {
  readonly lockDurationMs: number
  readonly deliveryCountLimit: number
  readonly recordLocksMax: number
  readonly delayedRecordsMax: number
  /** Null: what is rejected is archived and nothing more. */
  readonly deadLetterTopic: string | null
}

/** The numbers of a share partition. */
export interface ShareFacts {
  /** Share-partition start offset: everything below is acknowledged or archived. */
  readonly startOffset: number
  /** Everything at and above it was never acquired. */
  readonly endOffset: number
  /** Records since the group began with the partition. */
  readonly accepted: number
  readonly deadLettered: number
}

/** What has to be stored: the facts, and the rows of each block that changed; no rows when the block is finished. */
export interface ShareChanges {
  readonly facts: ShareFacts
  readonly blocks: ReadonlyMap<number, readonly RunRow[]>
}

/** A share partition as it is stored; all blocks have rows. */
export type StoredShare = ShareChanges

export interface ShareKey {
  readonly group: string
  readonly topicId: TopicId
  readonly partition: number
}

export interface SharePartitionEntry extends ShareKey {
  readonly facts: ShareFacts
}

export interface SharePartitionChanges extends ShareKey {
  readonly changes: ShareChanges
}

export function readShareGroup(json: unknown): ShareGroupConfig | undefined {
  if (!isObject(json)) return undefined
  const { lockDurationMs, deliveryCountLimit, recordLocksMax, delayedRecordsMax, deadLetterTopic } = json
  if (!isInteger(lockDurationMs) || !isInteger(deliveryCountLimit)) return undefined
  if (!isInteger(recordLocksMax) || !isInteger(delayedRecordsMax)) return undefined
  if (deadLetterTopic !== null && !isText(deadLetterTopic)) return undefined
  return { lockDurationMs, deliveryCountLimit, recordLocksMax, delayedRecordsMax, deadLetterTopic }
}

export function readShareFacts(json: unknown): ShareFacts | undefined {
  if (!isObject(json)) return undefined
  const { startOffset, endOffset, accepted, deadLettered } = json
  if (!isInteger(startOffset) || !isInteger(endOffset) || !isInteger(accepted) || !isInteger(deadLettered))
    return undefined
  return startOffset <= endOffset ? { startOffset, endOffset, accepted, deadLettered } : undefined
}

/** Rows that ascend and stay in their block. */
export function readShareRuns(json: unknown): readonly RunRow[] | undefined {
  if (!Array.isArray(json) || json.length === 0 || !json.every(isRow)) return undefined
  let end = 0
  for (const [relative, records] of json) {
    if (relative < end) return undefined
    end = relative + records
  }
  return end <= SHARE_BLOCK_OFFSETS ? json : undefined
}

const STATES: readonly number[] = Object.values(STORED_RECORD_STATE)

function isRow(json: unknown): json is RunRow {
  if (!Array.isArray(json) || json.length !== 5 || !json.every(isInteger)) return false
  const [, records, state, deliveryCount, dueMs] = json as unknown as RunRow
  return records > 0 && STATES.includes(state) && deliveryCount >= 0 && dueMs >= 0
}

/** Undefined for a reader of a directory that no owner has opened since there are queues: then there are none in it. */
export interface ShareTables {
  readonly groups: () => Table<ShareGroupConfig> | undefined
  readonly partitions: () => Table<ShareFacts> | undefined
  readonly runs: () => Table<readonly RunRow[]> | undefined
}

interface OpenTables {
  readonly groups: Table<ShareGroupConfig>
  readonly partitions: Table<ShareFacts>
  readonly runs: Table<readonly RunRow[]>
}

export class ShareStore {
  readonly #environment: Environment
  readonly #late: ShareTables
  readonly #topics: TopicStore

  constructor(environment: Environment, tables: ShareTables, topics: TopicStore) {
    this.#environment = environment
    this.#late = tables
    this.#topics = topics
  }

  /** For the owner, who has made them. */
  get #tables(): OpenTables {
    const [groups, partitions, runs] = [this.#late.groups(), this.#late.partitions(), this.#late.runs()]
    invariant(groups !== undefined && partitions !== undefined && runs !== undefined, 'an owner has every database')
    return { groups, partitions, runs }
  }

  /** The share groups, by name. @throws CORRUPT_STORE */
  groups(): Map<string, ShareGroupConfig> {
    const entries = this.#late.groups()?.entries(ALL_KEYS) ?? []
    return new Map(entries.map(({ key, value }) => [groupOfKey(key, 0), value]))
  }

  /** Undefined when there is no such share group. @throws CORRUPT_STORE, INVALID_ARGUMENT */
  group(group: string): ShareGroupConfig | undefined {
    return this.#late.groups()?.get(shareGroupPrefix(group))
  }

  /** Creates or changes a share group; on disk when this returns. @throws INVALID_ARGUMENT, DISK_FULL */
  putGroup(group: string, config: ShareGroupConfig): void {
    this.#environment.transact(() => this.#tables.groups.put(shareGroupPrefix(group), config))
  }

  /** Forgets a share group and all that it did, behind what was submitted before; resolves when it is on disk. */
  deleteGroup(group: string): Promise<void> {
    const prefix = shareGroupPrefix(group)
    return this.#environment.transactLater(() => {
      this.#tables.groups.remove(prefix)
      this.#tables.partitions.removeRange(prefixRange(prefix))
      this.#tables.runs.removeRange(prefixRange(prefix))
    })
  }

  /** The partitions of all groups. @throws CORRUPT_STORE */
  partitions(): SharePartitionEntry[] {
    return (this.#late.partitions()?.entries(ALL_KEYS) ?? []).map(({ key, value }) => ({
      group: groupOfKey(key, PARTITION_KEY_BYTES),
      topicId: topicIdOfKey(key),
      partition: partitionOfKey(key),
      facts: value,
    }))
  }

  /** True when a group shares the topic. */
  isShared(topicId: TopicId): boolean {
    const range = (group: string) => prefixRange(Buffer.concat([shareGroupPrefix(group), topicIdBytes(topicId)]))
    return [...this.groups().keys()].some(group => this.#tables.partitions.firstKey(range(group)) !== undefined)
  }

  /** Undefined when the group has not begun with the partition. @throws CORRUPT_STORE */
  get({ group, topicId, partition }: ShareKey): StoredShare | undefined {
    const key = partitionKey(topicId, partition, shareGroupPrefix(group))
    const facts = this.#late.partitions()?.get(key)
    if (facts === undefined) return undefined
    const rows = this.#late.runs()?.entries(prefixRange(key)) ?? []
    return { facts, blocks: new Map(rows.map(entry => [blockOfKey(entry.key), entry.value])) }
  }

  /**
   * Stores changes, all in one transaction; those of topics that were deleted meanwhile are left out.
   * @returns resolves when they are on disk
   * @throws BACK_PRESSURE, DISK_FULL; then nothing was stored
   */
  async put(entries: readonly SharePartitionChanges[]): Promise<void> {
    const { partitions, runs } = this.#tables
    const writes: Write[] = []
    for (const { group, topicId, partition, changes } of entries) {
      if (!this.#topics.isLive(topicId)) continue
      const key = partitionKey(topicId, partition, shareGroupPrefix(group))
      writes.push(partitions.putLater(key, changes.facts))
      for (const [block, rows] of changes.blocks) {
        const blockKey = u64Key(key, block)
        writes.push(rows.length === 0 ? runs.removeLater(blockKey) : runs.putLater(blockKey, rows))
      }
    }
    if (writes.length > 0) await this.#environment.submit(writes)
  }

  /**
   * After a recovery: forgets what groups did at and above the end of a partition's log, since other records will have
   * those offsets; on disk when this returns. For use before any change of the partition is submitted.
   * @returns the groups whose state reached beyond the end
   */
  clamp(topicId: TopicId, partition: number, logEndOffset: number): string[] {
    const clamped: string[] = []
    for (const group of this.groups().keys()) {
      const stored = this.get({ group, topicId, partition })
      if (stored === undefined || stored.facts.endOffset <= logEndOffset) continue
      clamped.push(group)
      const key = partitionKey(topicId, partition, shareGroupPrefix(group))
      const { facts, blocks } = stored
      const startOffset = Math.min(facts.startOffset, logEndOffset)
      this.#environment.transact(() => {
        this.#tables.partitions.put(key, { ...facts, startOffset, endOffset: logEndOffset })
        for (const [block, rows] of blocks) this.#clampBlock(u64Key(key, block), block, rows, logEndOffset)
      })
    }
    return clamped
  }

  #clampBlock(key: Buffer, block: number, rows: readonly RunRow[], logEndOffset: number): void {
    const end = logEndOffset - block * SHARE_BLOCK_OFFSETS
    const kept = rows
      .filter(([relative]) => relative < end)
      .map(([relative, records, ...rest]): RunRow => [relative, Math.min(records, end - relative), ...rest])
    if (kept.length > 0) this.#tables.runs.put(key, kept)
    else this.#tables.runs.remove(key)
  }

  /** Forgets what all groups did in a topic, within the transaction that is open. */
  removeTopic(topicId: TopicId): void {
    for (const group of this.groups().keys()) {
      const range = prefixRange(Buffer.concat([shareGroupPrefix(group), topicIdBytes(topicId)]))
      this.#tables.partitions.removeRange(range)
      this.#tables.runs.removeRange(range)
    }
  }
}
