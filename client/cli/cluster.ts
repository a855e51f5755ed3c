/** `millrace cluster`: what a cluster is made of, and how it is. */
import { bootId } from '../../engine/broker/boot-id.ts'
import { openMetadata } from '../../engine/cluster/open-metadata.ts'
import { type ClusterStatus, clusterStatus, type PartitionStatus } from '../../engine/kafka/cluster-status.ts'
import type { Context } from './context.ts'
import { formatTable } from './output.ts'

export interface StatusOptions {
  readonly cluster: string
  readonly problems?: boolean
  readonly json?: boolean
}

export async function showStatus(context: Context, { cluster, problems, json }: StatusOptions): Promise<void> {
  const store = await openMetadata({ address: cluster, bootId: bootId() })
  let status: ClusterStatus
  try {
    status = await clusterStatus(store)
  } finally {
    await store.close()
  }
  const partitions = problems === true ? status.partitions.filter(isProblem) : status.partitions
  if (json === true) {
    context.out.json({ ...status, partitions })
    return
  }
  const brokers = status.brokers.map(({ brokerId, host, port, isController, isDraining, leads, replicas, failure }) => {
    const notes = [
      isController ? 'controller' : '',
      isDraining ? 'stopping' : '',
      failure === undefined ? '' : 'silent',
    ]
    return [brokerId, `${host}:${port}`, leads, replicas, notes.filter(note => note !== '').join(' ')]
  })
  context.out.line(formatTable(['broker', 'address', 'leads', 'replicas', ''], brokers))
  for (const { failure } of status.brokers) if (failure !== undefined) context.note(failure)
  if (partitions.length === 0) {
    context.note(problems === true ? 'every partition has a leader and all its replicas in sync' : 'there is no topic')
    return
  }
  const rows = partitions.map(({ topic, partition, leader, leaderEpoch, replicas, isMoving }) => [
    topic,
    partition,
    leader < 0 ? 'none' : leader,
    leaderEpoch,
    replicas.map(({ brokerId }) => brokerId).join(' '),
    replicas
      .filter(({ isInSync }) => isInSync)
      .map(({ brokerId }) => brokerId)
      .join(' '),
    replicas
      .filter(({ brokerId }) => brokerId !== leader)
      .map(({ brokerId, lag }) => `${brokerId}:${lag ?? '?'}`)
      .join(' '),
    isMoving ? 'moving' : '',
  ])
  context.out.line('')
  context.out.line(formatTable(['topic', 'partition', 'leader', 'epoch', 'replicas', 'in sync', 'lag', ''], rows))
}

function isProblem({ leader, replicas }: PartitionStatus): boolean {
  return leader < 0 || replicas.some(({ isInSync }) => !isInSync)
}
