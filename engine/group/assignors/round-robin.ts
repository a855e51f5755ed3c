/**
 * Round robin: all partitions of all topics in one row, dealt out to the members in turn. A member that does not subscribe
 * to a topic is passed over. Even where all subscribe to the same; a new member moves nearly everything.
 */
import { AssignmentBuilder, type ClientAssignor, inOrder, subscribedTopics } from './assignor.ts'

export const roundRobinAssignor: ClientAssignor = {
  name: 'roundrobin',
  mode: 'eager',
  assign(partitionsOf, members) {
    const ordered = inOrder(members)
    const builder = new AssignmentBuilder(ordered)
    const topics = subscribedTopics(
      partitionsOf,
      ordered.map(member => member.topics),
    )
    let next = 0
    for (const { topic, partitions, subscribers } of topics) {
      const subscribed = new Set(subscribers)
      for (let partition = 0; partition < partitions; partition++) {
        while (!subscribed.has(next)) next = (next + 1) % ordered.length
        builder.add(next, topic, partition)
        next = (next + 1) % ordered.length
      }
    }
    return builder.finish()
  },
}
