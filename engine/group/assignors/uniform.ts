/**
 * Uniform, the default of KIP-848: balanced over all topics together, and of the targets that members have as much stays as
 * the balance allows (see `balance.ts`). A member whose target does not change gets the very set that it had, so that a
 * member that joins a large group costs what changes and not what stays.
 */
import type { TopicId } from '../../base/brands.ts'
import { PartitionSet } from '../partition-set.ts'
import { inOrder, type ServerAssignor, type ServerMember, subscribedTopics } from './assignor.ts'
import { balance, NOBODY } from './balance.ts'

interface UniformTopic {
  readonly topicId: TopicId
  readonly subscribers: readonly number[]
  readonly owners: Int32Array
}

export const uniformAssignor: ServerAssignor = {
  name: 'uniform',
  assign(partitionsOf, members) {
    const ordered = inOrder(members)
    const subscribed = subscribedTopics<TopicId>(
      partitionsOf,
      ordered.map(member => member.topicIds),
    )
    const topics: UniformTopic[] = subscribed.map(({ topic, partitions, subscribers }) => ({
      topicId: topic,
      subscribers,
      owners: new Int32Array(partitions).fill(NOBODY),
    }))
    const changed = new Uint8Array(ordered.length)
    setOwners(ordered, topics, changed)
    const before = topics.map(({ owners }) => owners.slice())
    balance(ordered.length, topics)
    topics.forEach(({ owners }, topic) => {
      const were = before[topic] as Int32Array
      for (let partition = 0; partition < owners.length; partition++) {
        const [was, is] = [were[partition] as number, owners[partition] as number]
        if (was === is) continue
        changed[is] = 1
        if (was !== NOBODY) changed[was] = 1
      }
    })
    return new Map(newTargets(ordered, topics, changed))
  },
}

/** From the targets that members have. Whoever has something that is not there any more is `changed`. */
function setOwners(members: readonly ServerMember[], topics: readonly UniformTopic[], changed: Uint8Array): void {
  const ownersOf = new Map(topics.map(({ topicId, owners }) => [topicId, owners]))
  members.forEach(({ target }, member) => {
    for (const [topicId, partitions] of target.topics()) {
      const owners = ownersOf.get(topicId)
      if (owners === undefined) changed[member] = 1
      else {
        for (const partition of partitions.keys()) {
          if (partition < owners.length) owners[partition] = member
          else changed[member] = 1
        }
      }
    }
  })
}

function newTargets(
  members: readonly ServerMember[],
  topics: readonly UniformTopic[],
  changed: Uint8Array,
): [string, PartitionSet][] {
  const targets = members.map(({ target }, member) => (changed[member] === 1 ? new PartitionSet() : target))
  for (const { topicId, owners } of topics) {
    for (let partition = 0; partition < owners.length; partition++) {
      const owner = owners[partition] as number
      if (changed[owner] === 1) (targets[owner] as PartitionSet).add(topicId, partition)
    }
  }
  return members.map(({ memberId }, member) => [memberId, targets[member] as PartitionSet])
}
