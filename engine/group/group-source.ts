/** What the administration asks about groups, of a running engine or of a directory that another process owns. */
import type { TopicId } from '../base/brands.ts'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import type { Observer } from '../broker/observer.ts'
import type { PartitionOffset } from '../store/offsets.ts'
import type { Store } from '../store/store.ts'
import type { ConsumerGroupDescribeAnswer, DescribeGroupAnswer, ListGroupsAnswer } from './actions.ts'
import { GROUP_DEFAULTS } from './config.ts'
import type { GroupCoordinator } from './coordinator.ts'
import { describeClassic, describeConsumer, listed } from './describe.ts'
import { GroupMachine } from './machine.ts'

export type GroupAnswer = DescribeGroupAnswer | ConsumerGroupDescribeAnswer

export interface GroupSource {
  list(): Promise<ListGroupsAnswer['groups']>
  /** @throws GROUP_ID_NOT_FOUND */
  describe(groupId: string): Promise<GroupAnswer>
  /** All that the group has committed. */
  offsets(groupId: string): PartitionOffset[]
  topicNames(): ReadonlyMap<TopicId, string>
  /** Who changes groups. @throws READ_ONLY */
  readonly owner: GroupCoordinator
}

/** The groups of a running engine. */
export class OwnedGroups implements GroupSource {
  readonly owner: GroupCoordinator
  readonly #store: Store

  constructor(coordinator: GroupCoordinator, store: Store) {
    this.owner = coordinator
    this.#store = store
  }

  async list(): Promise<ListGroupsAnswer['groups']> {
    return (await this.owner.listGroups()).groups
  }

  async describe(groupId: string): Promise<GroupAnswer> {
    try {
      return await this.owner.consumerGroupDescribe({ groupId })
    } catch (error) {
      if (!isMillraceError(error, 'GROUP_ID_NOT_FOUND')) throw error
      return this.owner.describeGroup({ groupId })
    }
  }

  offsets(groupId: string): PartitionOffset[] {
    return this.#store.offsets.ofGroup(groupId)
  }

  topicNames(): ReadonlyMap<TopicId, string> {
    return namesOf(this.#store)
  }
}

/** Groups as they are stored: members are those of the last change, whether they live or not. */
export class ObservedGroups implements GroupSource {
  readonly #observer: Observer

  constructor(observer: Observer) {
    this.#observer = observer
  }

  get owner(): never {
    throw new MillraceError('READ_ONLY', { directory: this.#observer.directory })
  }

  async list(): Promise<ListGroupsAnswer['groups']> {
    this.#observer.demandOpen()
    const { groups, offsets } = this.#observer.store
    const stored = new Set(groups.list().map(({ groupId }) => groupId))
    const all = new Set([...stored, ...offsets.groups()])
    return [...all].map(groupId => listed(this.#load(groupId)))
  }

  async describe(groupId: string): Promise<GroupAnswer> {
    this.#observer.demandOpen()
    const group = this.#load(groupId)
    return group.type === 'classic' ? describeClassic(group) : describeConsumer(group)
  }

  /** @throws GROUP_ID_NOT_FOUND */
  #load(groupId: string) {
    const { groups, offsets } = this.#observer.store
    const entry = groups.get(groupId)
    if (entry === undefined && !offsets.hasCommits(groupId)) throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    const machine = new GroupMachine(GROUP_DEFAULTS, () => '')
    machine.load(groupId, entry?.group, entry?.members ?? [], { monotonicMs: 0, wallMs: 0 })
    const group = machine.group(groupId)
    if (group === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND', { groupId })
    return group
  }

  offsets(groupId: string): PartitionOffset[] {
    return this.#observer.store.offsets.ofGroup(groupId)
  }

  topicNames(): ReadonlyMap<TopicId, string> {
    return namesOf(this.#observer.store)
  }
}

function namesOf(store: Store): ReadonlyMap<TopicId, string> {
  return new Map(store.topics.list().map(({ topicId, topic }) => [topicId, topic]))
}
