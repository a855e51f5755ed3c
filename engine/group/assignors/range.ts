/**
 * Range: each topic by itself, in runs of neighbouring partitions. The first members get one more where the division
 * leaves a rest. Topics with equally many partitions are divided equally, so that partition n of each meets at one member
 * (joins rely on it); the price is that the rests of many topics all fall to the first members.
 */
import type { TopicId } from '../../base/brands.ts'
import { PartitionSet } from '../partition-set.ts'
import { AssignmentBuilder, type ClientAssignor, inOrder, type ServerAssignor, subscribedTopics } from './assignor.ts'

/** Range of the classic protocol. Static members keep their runs over restarts. */
export const rangeAssignor: ClientAssignor = {
  name: 'range',
  mode: 'eager',
  assign(partitionsOf, members) {
    const ordered = inOrder(members)
    const builder = new AssignmentBuilder(ordered)
    const topics = subscribedTopics(
      partitionsOf,
      ordered.map(member => member.topics),
    )
    divide(topics, (member, topic, partition) => builder.add(member, topic, partition))
    return builder.finish()
  },
}

/** Range of KIP-848. */
export const serverRangeAssignor: ServerAssignor = {
  name: 'range',
  assign(partitionsOf, members) {
    const ordered = inOrder(members)
    const targets = ordered.map(() => new PartitionSet())
    const topics = subscribedTopics<TopicId>(
      partitionsOf,
      ordered.map(member => member.topicIds),
    )
    divide(topics, (member, topicId, partition) => (targets[member] as PartitionSet).add(topicId, partition))
    return new Map(ordered.map(({ memberId }, at) => [memberId, targets[at] as PartitionSet]))
  },
}

function divide<T extends string>(
  topics: readonly { topic: T; partitions: number; subscribers: readonly number[] }[],
  give: (member: number, topic: T, partition: number) => void,
): void {
  for (const { topic, partitions, subscribers } of topics) {
    const share = Math.floor(partitions / subscribers.length)
    const rest = partitions % subscribers.length
    let partition = 0
    subscribers.forEach((member, at) => {
      for (const end = partition + share + (at < rest ? 1 : 0); partition < end; partition++) {
        give(member, topic, partition)
      }
    })
  }
}
