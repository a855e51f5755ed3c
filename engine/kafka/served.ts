/**
 * Which APIs are served, in which versions, and by what. What is not in this list is not advertised; docs/KAFKA.md is checked
 * against it.
 */
import { type Served, serve } from './handler.ts'
import { handleDescribeLogDirs, handleDescribeProducers } from './handlers/broker.ts'
import { handleAlterConfigs, handleDescribeConfigs, handleIncrementalAlterConfigs } from './handlers/configs.ts'
import {
  handleFindCoordinator,
  handleHeartbeat,
  handleJoinGroup,
  handleLeaveGroup,
  handleSyncGroup,
} from './handlers/coordinator.ts'
import { handleFetch } from './handlers/fetch.ts'
import {
  handleConsumerGroupDescribe,
  handleConsumerGroupHeartbeat,
  handleDeleteGroups,
  handleDescribeGroups,
  handleListGroups,
} from './handlers/groups.ts'
import { handleOffsetForLeaderEpoch } from './handlers/leader-epochs.ts'
import { handleListOffsets } from './handlers/list-offsets.ts'
import { handleDescribeCluster, handleDescribeTopicPartitions, handleMetadata } from './handlers/metadata.ts'
import { handleOffsetCommit, handleOffsetDelete, handleOffsetFetch } from './handlers/offsets.ts'
import { handleInitProducerId } from './handlers/produce.ts'
import {
  handleAlterPartitionReassignments,
  handleElectLeaders,
  handleListPartitionReassignments,
} from './handlers/replicas.ts'
import {
  handleCreatePartitions,
  handleCreateTopics,
  handleDeleteRecords,
  handleDeleteTopics,
} from './handlers/topics.ts'
import { alterConfigs } from './messages/alter-configs.ts'
import { alterPartitionReassignments } from './messages/alter-partition-reassignments.ts'
import { apiVersions } from './messages/api-versions.ts'
import { consumerGroupDescribe } from './messages/consumer-group-describe.ts'
import { consumerGroupHeartbeat } from './messages/consumer-group-heartbeat.ts'
import { createPartitions } from './messages/create-partitions.ts'
import { createTopics } from './messages/create-topics.ts'
import { deleteGroups } from './messages/delete-groups.ts'
import { deleteRecords } from './messages/delete-records.ts'
import { deleteTopics } from './messages/delete-topics.ts'
import { describeCluster } from './messages/describe-cluster.ts'
import { describeConfigs } from './messages/describe-configs.ts'
import { describeGroups } from './messages/describe-groups.ts'
import { describeLogDirs } from './messages/describe-log-dirs.ts'
import { describeProducers } from './messages/describe-producers.ts'
import { describeTopicPartitions } from './messages/describe-topic-partitions.ts'
import { electLeaders } from './messages/elect-leaders.ts'
import { fetch } from './messages/fetch.ts'
import { findCoordinator } from './messages/find-coordinator.ts'
import { heartbeat } from './messages/heartbeat.ts'
import { incrementalAlterConfigs } from './messages/incremental-alter-configs.ts'
import { initProducerId } from './messages/init-producer-id.ts'
import { joinGroup } from './messages/join-group.ts'
import { leaveGroup } from './messages/leave-group.ts'
import { listGroups } from './messages/list-groups.ts'
import { listOffsets } from './messages/list-offsets.ts'
import { listPartitionReassignments } from './messages/list-partition-reassignments.ts'
import { metadata } from './messages/metadata.ts'
import { offsetCommit } from './messages/offset-commit.ts'
import { offsetDelete } from './messages/offset-delete.ts'
import { offsetFetch } from './messages/offset-fetch.ts'
import { offsetForLeaderEpoch } from './messages/offset-for-leader-epoch.ts'
import { produce } from './messages/produce.ts'
import { syncGroup } from './messages/sync-group.ts'

export { apiVersions, produce }

/** The two that do not go the common way: see `dispatcher.ts`. */
const own = (): never => {
  throw new TypeError('carried out elsewhere')
}

const LIST: readonly Served[] = [
  // From version 0 on, else librdkafka does not compress (KAFKA-18659). What has no batches of magic 2 is refused.
  serve(produce, own, [0, 13]),
  serve(fetch, handleFetch),
  serve(listOffsets, handleListOffsets),
  serve(metadata, handleMetadata),
  serve(offsetCommit, handleOffsetCommit),
  serve(offsetFetch, handleOffsetFetch),
  serve(findCoordinator, handleFindCoordinator),
  serve(joinGroup, handleJoinGroup),
  serve(heartbeat, handleHeartbeat),
  serve(leaveGroup, handleLeaveGroup),
  serve(syncGroup, handleSyncGroup),
  serve(describeGroups, handleDescribeGroups),
  serve(listGroups, handleListGroups),
  serve(apiVersions, own),
  serve(createTopics, handleCreateTopics),
  serve(deleteTopics, handleDeleteTopics),
  serve(deleteRecords, handleDeleteRecords),
  // Version 6 is of two-phase commits.
  serve(initProducerId, handleInitProducerId, [0, 5]),
  serve(offsetForLeaderEpoch, handleOffsetForLeaderEpoch),
  serve(describeConfigs, handleDescribeConfigs),
  serve(alterConfigs, handleAlterConfigs),
  serve(describeLogDirs, handleDescribeLogDirs),
  serve(createPartitions, handleCreatePartitions),
  serve(deleteGroups, handleDeleteGroups),
  serve(electLeaders, handleElectLeaders),
  serve(incrementalAlterConfigs, handleIncrementalAlterConfigs),
  serve(alterPartitionReassignments, handleAlterPartitionReassignments),
  serve(listPartitionReassignments, handleListPartitionReassignments),
  serve(offsetDelete, handleOffsetDelete),
  serve(describeCluster, handleDescribeCluster),
  serve(describeProducers, handleDescribeProducers),
  serve(consumerGroupHeartbeat, handleConsumerGroupHeartbeat),
  serve(consumerGroupDescribe, handleConsumerGroupDescribe),
  serve(describeTopicPartitions, handleDescribeTopicPartitions),
]

export const SERVED: ReadonlyMap<number, Served> = new Map(LIST.map(served => [served.api.key, served]))
