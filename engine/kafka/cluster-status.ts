/**
 * A cluster as somebody from outside sees it: brokers, leaders, in-sync replicas and how far each replica is behind its leader. What is agreed on comes
 * from the metadata store, the ends of the logs from each broker by itself (ListOffsets, as Kafka's replica verification asks).
 */
import {
  brokerKey,
  type ClusterPartition,
  idOf,
  KEY,
  type LiveBroker,
  NO_LEADER,
  readBroker,
  readController,
  readPartition,
  readTopic,
} from '../cluster/cluster-state.ts'
import type { MetadataStore } from '../cluster/metadata-store.ts'
import { readResponse, writeRequest } from './codec/frames.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import { DEBUGGING_REPLICA } from './handlers/list-offsets.ts'
import { listOffsets } from './messages/list-offsets.ts'
import { PeerConnection } from './peer-connection.ts'

const LIST_OFFSETS_VERSION = 7
const LATEST = -1
const ANSWER_MS = 5_000

export interface BrokerStatus {
  readonly brokerId: number
  readonly host: string
  readonly port: number
  readonly epoch: number
  readonly isController: boolean
  readonly isDraining: boolean
  /** Partitions that it leads, and of which it has a replica. */
  readonly leads: number
  readonly replicas: number
  /** Why it could not be asked how far its logs are; undefined: it was. */
  readonly failure: string | undefined
}

export interface ReplicaStatus {
  readonly brokerId: number
  readonly isInSync: boolean
  /** undefined: the broker did not say. */
  readonly logEndOffset: number | undefined
  /** Records that it is behind its leader. */
  readonly lag: number | undefined
}

export interface PartitionStatus {
  readonly topic: string
  readonly partition: number
  /** -1: none. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: readonly ReplicaStatus[]
  readonly isMoving: boolean
}

export interface ClusterStatus {
  readonly brokers: readonly BrokerStatus[]
  readonly partitions: readonly PartitionStatus[]
}

interface Ends {
  readonly failure: string | undefined
  readonly byPartition: ReadonlyMap<string, number>
}

/** @throws METADATA_STORE_UNAVAILABLE, CORRUPT_STORE */
export async function clusterStatus(store: MetadataStore): Promise<ClusterStatus> {
  const { entries } = await store.list('')
  const of = (prefix: string) => entries.filter(({ key }) => key.startsWith(prefix))
  const brokers = of(KEY.brokers).map(readBroker)
  const draining = new Set(of(KEY.draining).map(({ key }) => idOf(key)))
  const [controller] = of(KEY.controller).map(readController)
  const names = new Map(of(KEY.topics).map(entry => [readTopic(entry).topicId as string, readTopic(entry).topic]))
  const partitions = of(KEY.partitions)
    .map(readPartition)
    .filter(({ topicId }) => names.has(topicId))
    .sort((a, b) => compare(nameOf(a), nameOf(b)) || a.partition - b.partition)
  function nameOf({ topicId }: ClusterPartition): string {
    return names.get(topicId) as string
  }
  const ends = new Map<number, Ends>()
  await Promise.all(
    brokers.map(async broker => {
      const mine = partitions.filter(({ replicas }) => replicas.includes(broker.brokerId))
      ends.set(broker.brokerId, await endsOf(broker, Map.groupBy(mine, nameOf)))
    }),
  )
  const endOf = (brokerId: number, topic: string, partition: number): number | undefined =>
    ends.get(brokerId)?.byPartition.get(`${topic}/${partition}`)
  return {
    brokers: brokers.map(({ brokerId, host, port, epoch }) => ({
      brokerId,
      host,
      port,
      epoch,
      isController: brokerId === controller,
      isDraining: draining.has(brokerId),
      leads: partitions.filter(({ leader }) => leader === brokerId).length,
      replicas: partitions.filter(({ replicas }) => replicas.includes(brokerId)).length,
      failure: ends.get(brokerId)?.failure,
    })),
    partitions: partitions.map(one => {
      const topic = nameOf(one)
      const { partition, leader, leaderEpoch, isr, adding = [], removing = [] } = one
      const leaderEnd = leader === NO_LEADER ? undefined : endOf(leader, topic, partition)
      const replicas = one.replicas.map(brokerId => {
        const logEndOffset = endOf(brokerId, topic, partition)
        const lag =
          leaderEnd === undefined || logEndOffset === undefined ? undefined : Math.max(0, leaderEnd - logEndOffset)
        return { brokerId, isInSync: isr.includes(brokerId), logEndOffset, lag }
      })
      return { topic, partition, leader, leaderEpoch, replicas, isMoving: adding.length + removing.length > 0 }
    }),
  }
}

async function endsOf(broker: LiveBroker, partitions: ReadonlyMap<string, readonly ClusterPartition[]>): Promise<Ends> {
  const byPartition = new Map<string, number>()
  if (partitions.size === 0) return { failure: undefined, byPartition }
  const connection = new PeerConnection(broker)
  try {
    await connection.opened
    const topics = [...partitions].map(([name, mine]) => ({
      name,
      partitions: mine.map(({ partition }) => ({ partitionIndex: partition, timestamp: LATEST })),
    }))
    const { body } = await connection.ask(
      id =>
        writeRequest(listOffsets, LIST_OFFSETS_VERSION, id, 'cluster-status', { replicaId: DEBUGGING_REPLICA, topics }),
      frame => readResponse(listOffsets, LIST_OFFSETS_VERSION, frame),
      ANSWER_MS,
    )
    for (const { name, partitions: answers } of body.topics) {
      for (const { partitionIndex, errorCode, offset } of answers) {
        if (errorCode === KAFKA_ERROR.NONE) byPartition.set(`${name}/${partitionIndex}`, offset)
      }
    }
    return { failure: undefined, byPartition }
  } catch (error) {
    return { failure: `${brokerKey(broker.brokerId)}: ${(error as Error).message}`, byPartition }
  } finally {
    connection.end(undefined)
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
