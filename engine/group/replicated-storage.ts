/**
 * What a coordinator stores, in a cluster: each change is first a record of the group's journal, an internal topic that other brokers have too, and then
 * in this broker's LMDB, from which everything is read. Whoever leads the journal next rebuilds its LMDB from it.
 *
 *     change ──▶ journal (acks=all) ──▶ LMDB ──▶ answer
 *
 * A journal record is about one key, so that compaction keeps what counts: `["g", group]`, `["m", group, member]`,
 * `["o", group, topic id, partition]`, with the value as LMDB has it, or none for what is gone. What one change needs is one batch.
 */
import type { TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import {
  type GroupChange,
  type GroupEntry,
  type GroupStore,
  readGroupEntry,
  type StoredGroup,
  type StoredMember,
} from '../store/groups.ts'
import {
  type CommittedOffset,
  type OffsetStore,
  type PartitionOffset,
  readCommittedOffset,
  type UncommittedOffset,
} from '../store/offsets.ts'
import type { GroupStorage, OffsetStorage } from './storage.ts'

/** One key of the journal; no value: it is gone. */
export interface JournalChange {
  readonly key: string
  readonly value: string | undefined
}

export interface GroupJournal {
  /**
   * Resolves when the changes are on all replicas in sync, in the order of the calls for a group.
   * @throws NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE: they may be in the journal or not
   */
  append(groupId: string, changes: readonly JournalChange[]): Promise<void>
}

const groupKey = (groupId: string): string => JSON.stringify(['g', groupId])
const memberKey = (groupId: string, memberId: string): string => JSON.stringify(['m', groupId, memberId])
const offsetKey = (groupId: string, { topicId, partition }: { topicId: TopicId; partition: number }): string =>
  JSON.stringify(['o', groupId, topicId, partition])

const gone = (key: string): JournalChange => ({ key, value: undefined })

export class ReplicatedStorage implements GroupStorage {
  readonly groups: Pick<GroupStore, keyof GroupStore>
  readonly offsets: OffsetStorage

  constructor(store: { readonly groups: GroupStore; readonly offsets: OffsetStore }, journal: GroupJournal) {
    const underWay = new UnderWay(journal)
    this.groups = new ReplicatedGroups(store, underWay)
    this.offsets = new ReplicatedOffsets(store.offsets, underWay)
  }
}

/** Which groups have changes between journal and LMDB. */
class UnderWay {
  readonly #journal: GroupJournal
  readonly #counts = new Map<string, number>()

  constructor(journal: GroupJournal) {
    this.#journal = journal
  }

  has(groupId: string): boolean {
    return this.#counts.has(groupId)
  }

  async change<T>(groupId: string, changes: readonly JournalChange[], apply: () => Promise<T>): Promise<T> {
    this.#counts.set(groupId, (this.#counts.get(groupId) ?? 0) + 1)
    try {
      if (changes.length > 0) await this.#journal.append(groupId, changes)
      return await apply()
    } finally {
      const left = (this.#counts.get(groupId) as number) - 1
      if (left === 0) this.#counts.delete(groupId)
      else this.#counts.set(groupId, left)
    }
  }
}

class ReplicatedGroups implements Pick<GroupStore, keyof GroupStore> {
  readonly #store: { readonly groups: GroupStore; readonly offsets: OffsetStore }
  readonly #underWay: UnderWay

  constructor(store: { readonly groups: GroupStore; readonly offsets: OffsetStore }, underWay: UnderWay) {
    this.#store = store
    this.#underWay = underWay
  }

  list(): GroupEntry[] {
    return this.#store.groups.list()
  }

  get(groupId: string): GroupEntry | undefined {
    return this.#store.groups.get(groupId)
  }

  put(change: GroupChange): Promise<void> {
    const { groupId, group, members, removed } = change
    const changes = [
      { key: groupKey(groupId), value: JSON.stringify(group) },
      ...removed.map(memberId => gone(memberKey(groupId, memberId))),
      ...members.map(member => ({ key: memberKey(groupId, member.memberId), value: JSON.stringify(member) })),
    ]
    return this.#underWay.change(groupId, changes, () => this.#store.groups.put(change))
  }

  delete(groupId: string): Promise<void> {
    return this.#underWay.change(groupId, this.#all(groupId), () => this.#store.groups.delete(groupId))
  }

  async deleteUnlessCommitted(groupId: string): Promise<boolean> {
    if (this.#underWay.has(groupId) || this.#store.offsets.hasCommits(groupId)) return false
    return await this.#underWay.change(groupId, this.#all(groupId), () =>
      this.#store.groups.deleteUnlessCommitted(groupId),
    )
  }

  #all(groupId: string): JournalChange[] {
    const members = this.#store.groups.get(groupId)?.members ?? []
    return [
      ...this.#store.offsets.ofGroup(groupId).map(offset => gone(offsetKey(groupId, offset))),
      ...members.map(({ memberId }) => gone(memberKey(groupId, memberId))),
      gone(groupKey(groupId)),
    ]
  }
}

class ReplicatedOffsets implements OffsetStorage {
  readonly #offsets: OffsetStore
  readonly #underWay: UnderWay

  constructor(offsets: OffsetStore, underWay: UnderWay) {
    this.#offsets = offsets
    this.#underWay = underWay
  }

  async commit(group: string, offsets: readonly PartitionOffset[]): Promise<void> {
    this.#offsets.demandCommittable(offsets)
    const changes = offsets.map(one => ({ key: offsetKey(group, one), value: offsetValue(one, one.committedAtMs) }))
    await this.#underWay.change(group, changes, () => this.#offsets.commit(group, offsets))
  }

  submit(group: string, offsets: readonly UncommittedOffset[], committedAtMs: number): Promise<void> {
    return this.commit(
      group,
      offsets.map(one => ({ ...one, committedAtMs })),
    )
  }

  async delete(group: string, partitions: readonly { topicId: TopicId; partition: number }[]): Promise<void> {
    const changes = partitions.map(one => gone(offsetKey(group, one)))
    await this.#underWay.change(group, changes, () => this.#offsets.delete(group, partitions))
  }

  async deleteIf(
    group: string,
    partitions: readonly { topicId: TopicId; partition: number }[],
    isOver: (topicId: TopicId, committedAtMs: number) => boolean,
  ): Promise<number> {
    if (this.#underWay.has(group)) return 0 // there may be newer ones in it: the next time
    const over = partitions.filter(({ topicId, partition }) => {
      const value = this.#offsets.get(group, topicId, partition)
      return value !== undefined && isOver(topicId, value.committedAtMs)
    })
    await this.delete(group, over)
    return over.length
  }

  get(group: string, topicId: TopicId, partition: number): CommittedOffset | undefined {
    return this.#offsets.get(group, topicId, partition)
  }

  ofGroup(group: string): PartitionOffset[] {
    return this.#offsets.ofGroup(group)
  }

  hasCommits(group: string): boolean {
    return this.#offsets.hasCommits(group)
  }

  groups(): string[] {
    return this.#offsets.groups()
  }
}

function offsetValue({ offset, leaderEpoch, metadata }: UncommittedOffset, committedAtMs: number): string {
  return JSON.stringify({ offset, leaderEpoch, metadata, committedAtMs })
}

// ── rebuilding ────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Rebuilt {
  group: StoredGroup | undefined
  readonly members: Map<string, StoredMember>
  readonly offsets: Map<string, PartitionOffset>
}

/** The groups that a journal tells of, once all its records were given to `take`, in order. */
export class JournalReplay {
  readonly #groups = new Map<string, Rebuilt>()

  /** @throws CORRUPT_STORE for what is no record of a journal */
  take({ key, value }: JournalChange): void {
    const parts = parsed(key, key)
    if (!Array.isArray(parts)) throw corrupt(key)
    const [kind, groupId, first, second] = parts as [unknown, unknown, unknown, unknown]
    if (typeof groupId !== 'string') throw corrupt(key)
    const found = this.#of(groupId)
    const json = value === undefined ? undefined : parsed(key, value)
    if (kind === 'o') {
      const place = `${first} ${second}`
      const committed = json === undefined ? undefined : readCommittedOffset(json)
      if (json === undefined) found.offsets.delete(place)
      else if (committed === undefined) throw corrupt(key)
      else found.offsets.set(place, { topicId: first as TopicId, partition: second as number, ...committed })
      return
    }
    const entry = json === undefined ? undefined : readGroupEntry(json)
    if (json !== undefined && entry === undefined) throw corrupt(key)
    if (kind === 'g') found.group = entry as StoredGroup | undefined
    else if (kind !== 'm') throw corrupt(key)
    else if (entry === undefined) found.members.delete(String(first))
    else found.members.set(String(first), entry as StoredMember)
  }

  /** Writes them into a store in place of what it has of them. Returns those that there are. */
  async into(
    store: { readonly groups: GroupStore; readonly offsets: OffsetStore },
    isLive: (id: TopicId) => boolean,
  ): Promise<string[]> {
    const there: string[] = []
    for (const [groupId, { group, members, offsets }] of this.#groups) {
      const committed = [...offsets.values()].filter(({ topicId }) => isLive(topicId))
      if (group === undefined && committed.length === 0) continue
      there.push(groupId)
      if (group !== undefined) await store.groups.put({ groupId, group, members: [...members.values()], removed: [] })
      if (committed.length > 0) await store.offsets.commit(groupId, committed)
    }
    return there
  }

  #of(groupId: string): Rebuilt {
    let found = this.#groups.get(groupId)
    if (found === undefined) {
      found = { group: undefined, members: new Map(), offsets: new Map() }
      this.#groups.set(groupId, found)
    }
    return found
  }
}

function parsed(key: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw corrupt(key)
  }
}

const corrupt = (key: string): MillraceError =>
  new MillraceError('CORRUPT_STORE', { journal: 'groups', key: key.slice(0, 200) })
