/** FindCoordinator, and the groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup. */
import { fromErrorData as fromData, isMillraceError } from '../../base/errors.ts'
import { KAFKA_ERROR, kafkaCodeOf, messageOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import type { findCoordinator } from '../messages/find-coordinator.ts'
import type { heartbeat } from '../messages/heartbeat.ts'
import type { joinGroup } from '../messages/join-group.ts'
import type { leaveGroup } from '../messages/leave-group.ts'
import type { syncGroup } from '../messages/sync-group.ts'
import type { Call, KafkaService } from '../service.ts'

const KEY_TYPE = { group: 0, transaction: 1 } as const
/** Several keys at once. */
const FIND_BATCHED = 4
/** A member joins a second time with the id that it was given. */
const JOIN_REQUIRES_ID = 4
const JOIN_CAN_SKIP = 9
const LEAVE_BATCHED = 3
const EMPTY = Buffer.alloc(0)

export const handleFindCoordinator: Handler<typeof findCoordinator> = async (service, request, call) => {
  const { keyType, key } = request
  if (call.apiVersion < FIND_BATCHED) return await coordinatorOf(service, call, keyType, key)
  const found = request.coordinatorKeys.map(async one => ({
    key: one,
    ...(await coordinatorOf(service, call, keyType, one)),
  }))
  return { coordinators: await Promise.all(found) }
}

async function coordinatorOf({ settings, placement }: KafkaService, { endpoint }: Call, keyType: number, key: string) {
  const nowhere = { nodeId: -1, host: '', port: -1 }
  if (keyType === KEY_TYPE.group) {
    try {
      const here = { nodeId: settings.nodeId, ...endpoint }
      const found = placement === undefined ? here : await placement.coordinatorOf(key)
      return { ...found, errorCode: KAFKA_ERROR.NONE as number, errorMessage: null }
    } catch (error) {
      return { ...nowhere, errorCode: kafkaCodeOf(error), errorMessage: messageOf(error) }
    }
  }
  // A code on which clients try again would hang them.
  if (keyType === KEY_TYPE.transaction) {
    const errorCode = KAFKA_ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    return { ...nowhere, errorCode, errorMessage: 'Transactions are not served.' }
  }
  return {
    ...nowhere,
    errorCode: KAFKA_ERROR.INVALID_REQUEST,
    errorMessage: `There is no coordinator of type ${keyType}.`,
  }
}

export const handleJoinGroup: Handler<typeof joinGroup> = async (service, request, call) => {
  const { groupId, memberId, groupInstanceId, protocolType, protocols, sessionTimeoutMs, rebalanceTimeoutMs } = request
  try {
    const { generationId, members, ...joined } = await service.groups.coordinator.joinGroup({
      groupId,
      memberId,
      instanceId: groupInstanceId,
      protocolType,
      // The request's bytes are not ours to keep.
      protocols: protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) })),
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      requiresMemberId: call.apiVersion >= JOIN_REQUIRES_ID,
      canSkipAssignment: call.apiVersion >= JOIN_CAN_SKIP,
      clientId: call.clientId,
      clientHost: call.clientHost,
    })
    return {
      errorCode: KAFKA_ERROR.NONE,
      generationId,
      protocolType: joined.protocolType,
      protocolName: joined.protocolName ?? '',
      leader: joined.leader,
      skipAssignment: joined.skipAssignment,
      memberId: joined.memberId,
      members: members.map(({ instanceId, ...member }) => ({ groupInstanceId: instanceId, ...member })),
    }
  } catch (error) {
    const given = isMillraceError(error, 'MEMBER_ID_REQUIRED') ? String(error.details['memberId']) : memberId
    return {
      errorCode: kafkaCodeOf(error),
      generationId: -1,
      protocolName: call.apiVersion >= 7 ? null : '',
      leader: '',
      memberId: given,
      members: [],
    }
  }
}

export const handleSyncGroup: Handler<typeof syncGroup> = async (service, request) => {
  const { groupInstanceId, assignments, ...rest } = request
  try {
    const synced = await service.groups.coordinator.syncGroup({
      ...rest,
      instanceId: groupInstanceId,
      assignments: assignments.map(({ memberId, assignment }) => ({ memberId, assignment: Buffer.from(assignment) })),
    })
    const { protocolType, protocolName, assignment } = synced
    return { errorCode: KAFKA_ERROR.NONE, protocolType, protocolName, assignment }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), assignment: EMPTY }
  }
}

export const handleHeartbeat: Handler<typeof heartbeat> = async (service, { groupInstanceId, ...rest }) => {
  try {
    await service.groups.coordinator.heartbeat({ ...rest, instanceId: groupInstanceId })
    return { errorCode: KAFKA_ERROR.NONE }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error) }
  }
}

export const handleLeaveGroup: Handler<typeof leaveGroup> = async (service, request, call) => {
  const { groupId, memberId } = request
  const isBatched = call.apiVersion >= LEAVE_BATCHED
  const members = isBatched
    ? request.members.map(member => ({ memberId: member.memberId, instanceId: member.groupInstanceId }))
    : [{ memberId, instanceId: null }]
  try {
    const left = await service.groups.coordinator.leaveGroup({ groupId, members })
    const answers = left.members.map(({ memberId: id, instanceId, error }) => ({
      memberId: id,
      groupInstanceId: instanceId,
      errorCode: error === undefined ? KAFKA_ERROR.NONE : kafkaCodeOf(fromData(error)),
    }))
    if (isBatched) return { errorCode: KAFKA_ERROR.NONE, members: answers }
    return { errorCode: answers[0]?.errorCode ?? KAFKA_ERROR.NONE }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error) }
  }
}
