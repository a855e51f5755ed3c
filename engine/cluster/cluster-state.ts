/**
 * What a cluster keeps in its metadata store, as JSON under these keys:
 *
 *     brokers/<id>                     {host, port}; rests on the broker's lease, and its version is the broker's epoch
 *     draining/<id>                    {}; rests on it too: the broker wants to stop, and gives its leaders away
 *     controller                       {brokerId}; rests on it too
 *     machines/<id>                    {bootId, directoryId, isClean}: as the broker was registered last
 *     topics/<name>                    {topicId, partitions, replicationFactor, config}
 *     partitions/<topic id>/<number>   {replicas, isr, leader, leaderEpoch, adding, removing}
 *     producer-ids                     {next}
 *
 * A value that cannot be read is CORRUPT_STORE with its key, never a guess.
 */
import type { TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import type { Entry } from './metadata-store.ts'

export const NO_LEADER = -1

/** Where a broker is reached. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

export interface LiveBroker extends BrokerAddress {
  readonly brokerId: number
  /** Rises with each registration. */
  readonly epoch: number
}

export interface Machine {
  readonly bootId: string
  /** Of the broker's data directory. */
  readonly directoryId: string
  /** It was closed with everything flushed. */
  readonly isClean: boolean
}

export interface ClusterTopic {
  readonly topic: string
  readonly topicId: TopicId
  readonly partitions: number
  readonly replicationFactor: number
  readonly config: Readonly<Record<string, string>>
  readonly version: number
}

export interface PartitionAssignment {
  /** Brokers that have the partition; the first is preferred as its leader. */
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  /** NO_LEADER for none. */
  readonly leader: number
  /** Rises with each change of the leader. */
  readonly leaderEpoch: number
  /** Of a reassignment under way: replicas that come, and that go once those are in sync. */
  readonly adding?: readonly number[]
  readonly removing?: readonly number[]
}

export interface ClusterPartition extends PartitionAssignment {
  readonly topicId: TopicId
  readonly partition: number
  readonly version: number
}

export const KEY = {
  brokers: 'brokers/',
  draining: 'draining/',
  controller: 'controller',
  machines: 'machines/',
  topics: 'topics/',
  partitions: 'partitions/',
  producerIds: 'producer-ids',
} as const

export const brokerKey = (brokerId: number): string => `${KEY.brokers}${brokerId}`
export const drainingKey = (brokerId: number): string => `${KEY.draining}${brokerId}`
export const machineKey = (brokerId: number): string => `${KEY.machines}${brokerId}`
export const topicKey = (topic: string): string => `${KEY.topics}${topic}`
export const partitionKey = (topicId: string, partition: number): string => `${KEY.partitions}${topicId}/${partition}`

type Json = Readonly<Record<string, unknown>>

const isInteger = (value: unknown): value is number => Number.isSafeInteger(value)
const isText = (value: unknown): value is string => typeof value === 'string'
const areIds = (value: unknown): value is number[] => Array.isArray(value) && value.every(isInteger)

function read<T>({ key, value }: Entry, check: (json: Json) => T | undefined): T {
  let found: T | undefined
  try {
    const json: unknown = JSON.parse(value)
    if (typeof json === 'object' && json !== null) found = check(json as Json)
  } catch {
    // told below
  }
  if (found === undefined) throw new MillraceError('CORRUPT_STORE', { key, reason: 'shape' })
  return found
}

/** The number at the end of a key. */
export const idOf = (key: string): number => Number(key.slice(key.lastIndexOf('/') + 1))

export function readBroker(entry: Entry): LiveBroker {
  return read(entry, ({ host, port }) =>
    isText(host) && isInteger(port) ? { brokerId: idOf(entry.key), host, port, epoch: entry.version } : undefined,
  )
}

export function readController(entry: Entry): number {
  return read(entry, ({ brokerId }) => (isInteger(brokerId) ? brokerId : undefined))
}

export function readMachine(entry: Entry): Machine {
  return read(entry, ({ bootId, directoryId, isClean }) =>
    isText(bootId) && isText(directoryId) && typeof isClean === 'boolean'
      ? { bootId, directoryId, isClean }
      : undefined,
  )
}

export function readTopic(entry: Entry): ClusterTopic {
  return read(entry, ({ topicId, partitions, replicationFactor, config }) => {
    if (!isText(topicId) || !isInteger(partitions) || !isInteger(replicationFactor)) return undefined
    if (typeof config !== 'object' || config === null || !Object.values(config).every(isText)) return undefined
    const topic = entry.key.slice(KEY.topics.length)
    const shape = { topic, topicId: topicId as TopicId, partitions, replicationFactor }
    return { ...shape, config: config as Record<string, string>, version: entry.version }
  })
}

export function readPartition(entry: Entry): ClusterPartition {
  return read(entry, ({ replicas, isr, leader, leaderEpoch, adding, removing }) => {
    if (!areIds(replicas) || !areIds(isr) || !isInteger(leader) || !isInteger(leaderEpoch)) return undefined
    const [, topicId] = entry.key.split('/') as [string, string]
    const moves = { ...(areIds(adding) ? { adding } : {}), ...(areIds(removing) ? { removing } : {}) }
    const place = { topicId: topicId as TopicId, partition: idOf(entry.key), version: entry.version }
    return { ...place, replicas, isr, leader, leaderEpoch, ...moves }
  })
}

export function partitionValue(assignment: PartitionAssignment): string {
  const { replicas, isr, leader, leaderEpoch, adding = [], removing = [] } = assignment
  const moves = { ...(adding.length > 0 ? { adding } : {}), ...(removing.length > 0 ? { removing } : {}) }
  return JSON.stringify({ replicas, isr, leader, leaderEpoch, ...moves })
}
