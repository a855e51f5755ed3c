/** Groups as administrators see them, in Kafka's words. */
import type { ConsumerGroupDescribeAnswer, DescribeGroupAnswer, ListGroupsAnswer } from './actions.ts'
import type { ClassicState } from './classic/cases.ts'
import type { ClassicGroup } from './classic/group.ts'
import type { ConsumerGroup } from './consumer/group.ts'
import { CONSUMER_PROTOCOL_TYPE } from './consumer-protocol.ts'

const STATE_NAMES: Readonly<Record<ClassicState, string>> = {
  empty: 'Empty',
  'preparing-rebalance': 'PreparingRebalance',
  'completing-rebalance': 'CompletingRebalance',
  stable: 'Stable',
}

const NOTHING = new Uint8Array(0)

/** Subscriptions and assignments are shown while the group is stable; before that they are of no generation. */
export function describeClassic(group: ClassicGroup): DescribeGroupAnswer {
  const isStable = group.state === 'stable'
  return {
    type: 'DescribeGroup',
    state: STATE_NAMES[group.state],
    protocolType: group.protocolType ?? '',
    protocolName: isStable ? (group.protocolName ?? '') : '',
    members: [...group.members.values()].map(member => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      clientId: member.terms.clientId,
      clientHost: member.terms.clientHost,
      metadata: isStable ? member.metadata(group.protocolName) : NOTHING,
      assignment: isStable ? member.assignment : NOTHING,
    })),
  }
}

export function describeConsumer(group: ConsumerGroup): ConsumerGroupDescribeAnswer {
  const { state, groupEpoch, assignmentEpoch, assignorName } = group
  return {
    type: 'ConsumerGroupDescribe',
    state,
    groupEpoch,
    assignmentEpoch,
    assignorName,
    members: [...group.members.values()].map(member => {
      const { instanceId, rackId, clientId, clientHost, topicNames, topicRegex } = member.subscription
      return {
        memberId: member.memberId,
        instanceId,
        rackId,
        memberEpoch: member.memberEpoch,
        clientId,
        clientHost,
        subscribedTopicNames: topicNames,
        subscribedTopicRegex: topicRegex,
        assignment: member.current.assigned.toTopics(),
        targetAssignment: member.target.toTopics(),
        protocol: member.usesClassicProtocol ? 'classic' : 'consumer',
      }
    }),
  }
}

export function listed(group: ClassicGroup | ConsumerGroup): ListGroupsAnswer['groups'][number] {
  const { groupId } = group
  return group.type === 'classic'
    ? {
        groupId,
        protocolType: group.protocolType ?? '',
        state: STATE_NAMES[group.state],
        groupType: 'classic',
      }
    : { groupId, protocolType: CONSUMER_PROTOCOL_TYPE, state: group.state, groupType: 'consumer' }
}
