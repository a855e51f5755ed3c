/** The broker that coordinates a group, as a connection to it. */
import type { Admin as KafkaAdmin, Connection as KafkaConnection } from '@platformatic/kafka'
import { MillraceError } from '../../engine/base/errors.ts'

const OF_GROUP = 0

/** @throws COORDINATOR_NOT_AVAILABLE, and what the client underneath throws */
export async function coordinatorOf(admin: KafkaAdmin, groupId: string): Promise<KafkaConnection> {
  const [found] = await admin.findCoordinator({ keyType: OF_GROUP, keys: [groupId] })
  const nodeId = found?.nodeId ?? -1
  const connection = (await admin.connectToBrokers([nodeId])).get(nodeId)
  if (connection === undefined) throw new MillraceError('COORDINATOR_NOT_AVAILABLE', { groupId })
  return connection
}
