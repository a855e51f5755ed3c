/**
 * Topics whose folders something else wrote, such as Apache Kafka or another Millrace: `<topic>-<partition>` was put into the data
 * directory, and the store knows nothing of it. Taken in only when asked for. Nothing in a folder changes before all of them were
 * read and found sound; what the store learns comes in one transaction. Runs in the broker's thread.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { TopicId } from '../base/brands.ts'
import { fileError, fromErrorData, MillraceError } from '../base/errors.ts'
import { failpoint } from '../base/failpoints.ts'
import {
  checkTopicName,
  parsePartitionDirectory,
  parseSegmentFileName,
  partitionDirectory,
} from '../format/file-names.ts'
import { BATCH } from '../format/record-batch.ts'
import type { ForeignLog } from '../log/foreign-log.ts'
import { checkTopicConfigs, parseTopicConfig } from '../log/topic-config.ts'
import type { CheckpointEntry } from '../store/checkpoints.ts'
import type { Store } from '../store/store.ts'
import type { HostedPartition, Partitions } from './partitions.ts'
import type { Threads } from './threads.ts'

export interface AdoptedTopic {
  /** UUID: of `partition.metadata` where there is one, else a new one. */
  readonly topicId: string
  readonly partitions: number
}

/**
 * @throws INVALID_TOPIC_NAME, INVALID_CONFIG, DIRECTORY_NOT_FOUND, INVALID_PARTITIONS, INVALID_ARGUMENT, TOPIC_ALREADY_EXISTS, and what
 *   `inspectForeignLog` throws; the folders are as they were then
 */
export async function adoptFolders(
  { directory, store }: { readonly directory: string; readonly store: Store },
  partitions: Partitions,
  threads: Threads,
  topic: string,
  given: Readonly<Record<string, string | number | boolean>>,
): Promise<AdoptedTopic & { readonly hosted: readonly HostedPartition[] }> {
  checkTopicName(topic)
  const config = checkTopicConfigs(given)
  if (store.topics.get(topic) !== undefined) throw new MillraceError('TOPIC_ALREADY_EXISTS', { topic })
  const count = countFolders(directory, topic)
  const directories = Array.from({ length: count }, (_, partition) =>
    join(directory, partitionDirectory(topic, partition)),
  )
  const outcome = await threads.runJob({ kind: 'inspect', directories })
  if ('error' in outcome) throw fromErrorData(outcome.error)
  const logs = outcome.result
  failpoint('adopt-before-store')
  const created = store.topics.create(topic, count, config, commonTopicId(topic, logs), topicId =>
    store.checkpoints.putWithin(logs.map((log, partition) => checkpointOf(log, topicId, partition))),
  )
  failpoint('adopt-after-store')
  const { topicId } = created
  const checkpoints = store.checkpoints.ofTopic(topicId)
  const parsed = parseTopicConfig(config)
  const list = logs.map((_, partition) => {
    return { topic, topicId, partition, config: parsed, checkpoint: checkpoints.get(partition) }
  })
  let hosted: HostedPartition[] = []
  try {
    hosted = await partitions.open(list, 'crashed')
    const failure = hosted.find(partition => partition.failure !== undefined)?.failure
    if (failure !== undefined) throw failure
    return { topicId, partitions: count, hosted }
  } catch (error) {
    await partitions.remove(hosted) // the folders stay
    await store.topics.delete(topic)
    throw error
  }
}

/** Partitions of which there is a folder: all up to the last one. */
function countFolders(directory: string, topic: string): number {
  const found = new Set<number>()
  for (const name of list(directory)) {
    const parsed = parsePartitionDirectory(name)
    if (parsed?.topic === topic) found.add(parsed.partition)
  }
  if (found.size === 0) {
    throw new MillraceError('DIRECTORY_NOT_FOUND', { path: join(directory, partitionDirectory(topic, 0)) })
  }
  const partitions = Math.max(...found) + 1
  for (let partition = 0; partition < partitions; partition++) {
    if (!found.has(partition)) throw new MillraceError('INVALID_PARTITIONS', { topic, partitions, missing: partition })
  }
  return partitions
}

function commonTopicId(topic: string, logs: readonly ForeignLog[]): TopicId | undefined {
  const ids = new Set(logs.flatMap(({ topicId }) => (topicId === undefined ? [] : [topicId])))
  if (ids.size > 1) {
    const reason = `partition.metadata names several topics: ${[...ids].join(', ')}`
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'topic', topic, reason })
  }
  const [id] = ids
  return id as TopicId | undefined
}

function checkpointOf(log: ForeignLog, topicId: TopicId, partition: number): CheckpointEntry {
  const { recoveryPoint, logStartOffset, logEndOffset, leaderEpoch, cleanedOffset } = log
  const offsets = { recoveryPoint, logStartOffset, highWatermark: logEndOffset, leaderEpoch }
  return { topicId, partition, checkpoint: { ...offsets, ...(cleanedOffset > 0 ? { cleanedOffset } : {}) } }
}

/**
 * A new partition does not take over records that lie in its folder by chance.
 * @throws INVALID_ARGUMENT with the folder
 */
export function demandNoRecords(directory: string, topic: string, from: number, partitions: number): void {
  for (let partition = from; partition < partitions; partition++) {
    const folder = join(directory, partitionDirectory(topic, partition))
    const logs = list(folder).filter(name => parseSegmentFileName(name)?.suffix === 'log')
    if (logs.some(name => holdsBatch(join(folder, name)))) {
      const reason = 'its folder holds records, which admin.adoptTopic takes in'
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'topic', topic, folder, reason })
    }
  }
}

/** The file begins with a length other than zero; what a creation that was interrupted left is empty or zeros. */
function holdsBatch(path: string): boolean {
  const header = Buffer.alloc(BATCH.overheadBytes)
  try {
    const fd = openSync(path, 'r')
    try {
      readSync(fd, header, 0, header.length, 0)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    throw fileError(error, { path })
  }
  return header.readInt32BE(BATCH.batchLengthAt) !== 0
}

/** Names in a folder, none when it is not there. */
function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(error, { directory })
  }
}
