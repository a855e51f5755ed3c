/**
 * Uniform, the default of KIP-848: balanced over all topics together, and of the targets that members have as much stays as
 * the balance allows (see `balance.ts`).
 */
import type { TopicId } from '../../base/brands.ts'
import { PartitionSet } from '../partition-set.ts'
import { inOrder, type ServerAssignor, subscribedTopics } from './assignor.ts'
import { balance, NOBODY } from './balance.ts'

export const uniformAssignor: ServerAssignor = {
  name: 'uniform',
  assign(partitionsOf, members) {
    const ordered = inOrder(members)
    const subscribed = subscribedTopics<TopicId>(
      partitionsOf,
      ordered.map(member => member.topicIds),
    )
    const topics = subscribed.map(({ topic, partitions, subscribers }) => ({
      topicId: topic,
      subscribers,
      owners: new Int32Array(partitions).fill(NOBODY),
    }))
    const ownersOf = new Map(topics.map(({ topicId, owners }) => [topicId, owners]))
    ordered.forEach(({ target }, member) => {
      target.forEach((topicId, partition) => {
        const owners = ownersOf.get(topicId)
        if (owners !== undefined && partition < owners.length) owners[partition] = member
      })
    })
    balance(ordered.length, topics)
    const targets = ordered.map(() => new PartitionSet())
    for (const { topicId, owners } of topics) {
      owners.forEach((member, partition) => {
        ;(targets[member] as PartitionSet).add(topicId, partition)
      })
    }
    return new Map(ordered.map(({ memberId }, at) => [memberId, targets[at] as PartitionSet]))
  },
}
