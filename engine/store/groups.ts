/**
 * Groups of consumers as they were last stored. Database `groups`: (group, nothing) → what concerns the whole group,
 * (group, member id) → one member, so that a change of one member writes one member. The coordinator's own account of what
 * the fields mean is in `engine/group`; here they are data that survives JSON: bytes are base64.
 * Owned by the broker's thread. Invariant: the changes of one call are stored together or not at all.
 */
import { MillraceError } from '../base/errors.ts'
import type { Environment } from './environment.ts'
import { ALL_KEYS, groupOfMemberKey, groupPrefix, isTopicId, memberKey, memberOfKey, prefixRange } from './keys.ts'
import type { OffsetStore } from './offsets.ts'
import type { Table } from './table.ts'
import { isInteger, isObject, isText, type JsonObject } from './values.ts'

/** `[topic id, [[epoch, [partition, …]], …]]` of each topic: most partitions of a member have one epoch in common. */
export type StoredPartitions = readonly (readonly [string, readonly (readonly [number, readonly number[]])[]])[]

export interface StoredClassicGroup {
  readonly type: 'classic'
  /** Null for a group that only ever committed offsets. */
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly generationId: number
  readonly leaderId: string | null
  /** Since when it is stable or empty, which offset expiry counts from. */
  readonly stateSinceMs: number
}

export interface StoredConsumerGroup {
  readonly type: 'consumer'
  readonly groupEpoch: number
  readonly assignmentEpoch: number
  readonly assignorName: string
  /** Of the topics that members subscribe to, so that a change while nobody looked shows. */
  readonly topicsDigest: string
  readonly stateSinceMs: number
}

export type StoredGroup = StoredClassicGroup | StoredConsumerGroup

export interface StoredProtocol {
  readonly name: string
  readonly metadata: string
}

export interface StoredClassicMember {
  readonly type: 'classic'
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocols: readonly StoredProtocol[]
  readonly assignment: string
}

export interface StoredConsumerMember {
  readonly type: 'consumer'
  readonly memberId: string
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeoutMs: number
  readonly serverAssignor: string | null
  readonly topicNames: readonly string[]
  readonly topicRegex: string
  readonly memberEpoch: number
  readonly previousMemberEpoch: number
  readonly state: 'stable' | 'unrevoked' | 'unreleased'
  readonly assigned: StoredPartitions
  readonly pendingRevocation: StoredPartitions
  readonly target: StoredPartitions
  /** Of a member that speaks the classic protocol; null for one of KIP-848. */
  readonly classic: {
    readonly sessionTimeoutMs: number
    readonly protocols: readonly StoredProtocol[]
  } | null
}

export type StoredMember = StoredClassicMember | StoredConsumerMember

/** A group with its members, as it is in the store. */
export interface GroupEntry {
  readonly groupId: string
  readonly group: StoredGroup
  readonly members: readonly StoredMember[]
}

/** What differs from what is stored of a group. */
export interface GroupChange {
  readonly groupId: string
  readonly group: StoredGroup
  /** New and changed ones. */
  readonly members: readonly StoredMember[]
  /** By member id. */
  readonly removed: readonly string[]
}

export class GroupStore {
  readonly #environment: Environment
  /** Undefined in a directory that is read and was written before there were groups. */
  readonly #table: Table<StoredGroup | StoredMember> | undefined
  readonly #offsets: OffsetStore

  constructor(environment: Environment, table: Table<StoredGroup | StoredMember> | undefined, offsets: OffsetStore) {
    this.#environment = environment
    this.#table = table
    this.#offsets = offsets
  }

  /** All groups, with their members. @throws CORRUPT_STORE */
  list(): GroupEntry[] {
    const groups = new Map<string, { groupId: string; group: StoredGroup; members: StoredMember[] }>()
    for (const { key, value } of this.#table?.entries(ALL_KEYS) ?? []) {
      const groupId = groupOfMemberKey(key)
      if (isGroup(value)) groups.set(groupId, { groupId, group: value, members: [] })
      else {
        // A group's own entry has the first of its keys.
        const entry = groups.get(groupId)
        if (entry === undefined || value.memberId !== memberOfKey(key)) {
          throw new MillraceError('CORRUPT_STORE', { database: 'groups', key: key.toString('hex'), reason: 'key' })
        }
        entry.members.push(value)
      }
    }
    return [...groups.values()]
  }

  /** One group; undefined when it is not stored. @throws CORRUPT_STORE */
  get(groupId: string): GroupEntry | undefined {
    const entries = this.#table?.entries(prefixRange(groupPrefix(groupId))) ?? []
    const group = entries[0]?.value
    if (group === undefined || !isGroup(group)) return undefined
    const members = entries.slice(1).map(({ value }) => value as StoredMember)
    return { groupId, group, members }
  }

  /**
   * Stores a change, all of it in one transaction.
   * @returns resolves when it is on disk
   * @throws INVALID_ARGUMENT for ids that fit no key, BACK_PRESSURE, DISK_FULL; then nothing of it was stored
   */
  async put({ groupId, group, members, removed }: GroupChange): Promise<void> {
    const table = this.#writable()
    const prefix = groupPrefix(groupId)
    const writes = [
      table.putLater(memberKey(prefix, ''), group),
      ...removed.map(memberId => table.removeLater(memberKey(prefix, memberId))),
      ...members.map(member => table.putLater(memberKey(prefix, member.memberId), member)),
    ]
    await this.#environment.submit(writes)
  }

  /** Forgets a group and all that it committed, behind everything that was submitted before; resolves when on disk. */
  delete(groupId: string): Promise<void> {
    const range = prefixRange(groupPrefix(groupId))
    return this.#environment.transactLater(() => {
      this.#writable().removeRange(range)
      this.#offsets.removeGroup(groupId)
    })
  }

  /**
   * Forgets a group unless something is committed in it by then, behind everything that was submitted before.
   * @returns resolves when it is on disk, with whether the group is forgotten
   */
  deleteUnlessCommitted(groupId: string): Promise<boolean> {
    const range = prefixRange(groupPrefix(groupId))
    return this.#environment.transactLater(() => {
      if (this.#offsets.hasCommits(groupId)) return false
      this.#writable().removeRange(range)
      return true
    })
  }

  #writable(): Table<StoredGroup | StoredMember> {
    if (this.#table !== undefined) return this.#table
    throw new MillraceError('READ_ONLY', { directory: this.#environment.directory })
  }
}

function isGroup(value: StoredGroup | StoredMember): value is StoredGroup {
  return !('memberId' in value)
}

/** Checks both kinds of entries, because they share a database. */
export function readGroupEntry(json: unknown): StoredGroup | StoredMember | undefined {
  if (!isObject(json)) return undefined
  if (json['type'] === 'classic') return isText(json['memberId']) ? readClassicMember(json) : readClassicGroup(json)
  if (json['type'] === 'consumer') return isText(json['memberId']) ? readConsumerMember(json) : readConsumerGroup(json)
  return undefined
}

function readClassicGroup(json: JsonObject): StoredClassicGroup | undefined {
  const isSound =
    isOptionalText(json['protocolType']) &&
    isOptionalText(json['protocolName']) &&
    isOptionalText(json['leaderId']) &&
    isInteger(json['generationId']) &&
    isInteger(json['stateSinceMs'])
  return isSound ? (json as unknown as StoredClassicGroup) : undefined
}

function readConsumerGroup(json: JsonObject): StoredConsumerGroup | undefined {
  const isSound =
    isInteger(json['groupEpoch']) &&
    isInteger(json['assignmentEpoch']) &&
    isText(json['assignorName']) &&
    isText(json['topicsDigest']) &&
    isInteger(json['stateSinceMs'])
  return isSound ? (json as unknown as StoredConsumerGroup) : undefined
}

function readClassicMember(json: JsonObject): StoredClassicMember | undefined {
  const isSound =
    isClient(json) &&
    isInteger(json['sessionTimeoutMs']) &&
    isInteger(json['rebalanceTimeoutMs']) &&
    isProtocols(json['protocols']) &&
    isText(json['assignment'])
  return isSound ? (json as unknown as StoredClassicMember) : undefined
}

function readConsumerMember(json: JsonObject): StoredConsumerMember | undefined {
  const { classic, topicNames, state } = json
  const isSound =
    isClient(json) &&
    isOptionalText(json['rackId']) &&
    isOptionalText(json['serverAssignor']) &&
    isInteger(json['rebalanceTimeoutMs']) &&
    Array.isArray(topicNames) &&
    topicNames.every(isText) &&
    isText(json['topicRegex']) &&
    isInteger(json['memberEpoch']) &&
    isInteger(json['previousMemberEpoch']) &&
    (state === 'stable' || state === 'unrevoked' || state === 'unreleased') &&
    [json['assigned'], json['pendingRevocation'], json['target']].every(isPartitions) &&
    (classic === null ||
      (isObject(classic) && isInteger(classic['sessionTimeoutMs']) && isProtocols(classic['protocols'])))
  return isSound ? (json as unknown as StoredConsumerMember) : undefined
}

function isClient(json: JsonObject): boolean {
  return isOptionalText(json['instanceId']) && isText(json['clientId']) && isText(json['clientHost'])
}

function isProtocols(json: unknown): boolean {
  return Array.isArray(json) && json.every(one => isObject(one) && isText(one['name']) && isText(one['metadata']))
}

function isPartitions(json: unknown): boolean {
  return (
    Array.isArray(json) &&
    json.every(
      topic =>
        Array.isArray(topic) &&
        isText(topic[0]) &&
        isTopicId(topic[0]) &&
        Array.isArray(topic[1]) &&
        topic[1].every(
          one => Array.isArray(one) && isInteger(one[0]) && Array.isArray(one[1]) && one[1].every(isInteger),
        ),
    )
  )
}

function isOptionalText(json: unknown): boolean {
  return json === null || isText(json)
}
