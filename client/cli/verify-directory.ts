/**
 * What there is to verify in a data directory: beside a live owner what it has published, and else what the folders and the store
 * say. Nothing is changed and no lock is held, so an owner may come or go meanwhile; `ownerOf` tells.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { isMillraceError, MillraceError } from '../../engine/base/errors.ts'
import { DirectoryLock } from '../../engine/broker/directory-lock.ts'
import { Observer } from '../../engine/broker/observer.ts'
import type { ClientPartition } from '../../engine/broker/topic-metadata.ts'
import { parsePartitionDirectory, partitionDirectory, segmentFileName } from '../../engine/format/file-names.ts'
import { PartitionReader } from '../../engine/log/partition-reader.ts'
import { fileBytes, listDirectory } from '../../engine/log/recovery-files.ts'
import { parseTopicConfig } from '../../engine/log/topic-config.ts'
import {
  joinSegments,
  type PartitionToVerify,
  type PartitionVerification,
  planFolder,
  planPublished,
  type SegmentKey,
} from '../../engine/log/verify-partition.ts'
import { missingSegment } from '../../engine/log/verify-segment.ts'
import type { Finding, SegmentToVerify } from '../../engine/log/verify-types.ts'
import { CONTROL_FILE } from '../../engine/memory/engine-memory.ts'
import { Store } from '../../engine/store/store.ts'
import type { NamedTopic } from '../../engine/store/topics.ts'
import { type Verified, verifyOne } from './verify-threads.ts'

/** How often a partition whose segments are being replaced is looked at anew. */
const ATTEMPTS = 20
const ATTEMPT_MS = 10

/** `owned`: a service has it open. `closed`: the last owner closed it. `crashed`: it did not; the next one recovers it. */
export type DirectoryState = 'owned' | 'closed' | 'crashed'

export interface PlannedPartition {
  readonly topic: string
  readonly partition: number
  readonly plan: PartitionToVerify
  /** Beside an owner: which segments these are, and how they are found again. */
  readonly published?: { readonly keys: readonly SegmentKey[]; readonly again: () => Promise<PlannedPartition> }
}

export interface DirectoryPlan {
  readonly state: DirectoryState
  readonly partitions: readonly PlannedPartition[]
  /** About the directory itself. */
  readonly findings: readonly Finding[]
  close(): Promise<void>
}

/** Another text for each owner, and for what each leaves behind. */
export function ownerOf(directory: string): string {
  const control = statSync(join(directory, CONTROL_FILE), { throwIfNoEntry: false, bigint: true })
  return `${DirectoryLock.isHeld(directory)} ${control?.ino} ${control?.birthtimeNs}`
}

/** @param topics only these; empty: all @throws DIRECTORY_NOT_FOUND, NEWER_FORMAT, UNKNOWN_TOPIC_OR_PARTITION, IO_ERROR */
export async function planDirectory(directory: string, topics: readonly string[]): Promise<DirectoryPlan> {
  if (DirectoryLock.isHeld(directory)) return planOwned(directory, topics)
  let store: Store
  try {
    store = Store.open(directory, { readOnly: true })
  } catch (error) {
    if (!isMillraceError(error, 'CORRUPT_STORE')) throw error
    return planWithoutStore(directory, error)
  }
  try {
    return planStored(directory, store, topics)
  } finally {
    await store.close()
  }
}

const noClose = async (): Promise<void> => undefined

// ── beside an owner ───────────────────────────────────────────────────────────────────────────────────────────────────

async function planOwned(directory: string, topics: readonly string[]): Promise<DirectoryPlan> {
  const observer = Observer.open(directory)
  try {
    const partitions: PlannedPartition[] = []
    for (const topic of topics.length > 0 ? topics : observer.topicNames()) {
      for (const located of await partitionsOf(observer, topic, topics.length > 0)) {
        partitions.push(await planLocated(observer, located))
      }
    }
    return { state: 'owned', partitions, findings: [], close: () => observer.close() }
  } catch (error) {
    await observer.close()
    throw error
  }
}

/** Empty for a topic that was deleted just now. */
async function partitionsOf(observer: Observer, topic: string, demand: boolean): Promise<readonly ClientPartition[]> {
  try {
    return (await observer.clientTopic(topic)).partitions
  } catch (error) {
    if (!demand && isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return []
    throw error
  }
}

async function planLocated(observer: Observer, located: ClientPartition): Promise<PlannedPartition> {
  const { topic, partition, directory, slot } = located
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { control, segments } = observer.memory
    const found = planPublished(directory, slot, control, segments)
    if (found !== undefined) {
      const failure = new PartitionReader(located, control, segments).failure()
      const plan =
        failure === undefined ? found.partition : { ...found.partition, findings: [stopped(directory, failure)] }
      return { topic, partition, plan, published: { keys: found.keys, again: () => planLocated(observer, located) } }
    }
    await new Promise(resolve => setTimeout(resolve, ATTEMPT_MS))
  }
  throw new MillraceError('TIMED_OUT', { topic, partition, reason: 'its segments keep changing' })
}

const stopped = (path: string, code: string): Finding => ({
  kind: 'file',
  severity: 'damage',
  path,
  position: 0,
  reason: `the partition stopped with ${code}`,
})

// ── without one ───────────────────────────────────────────────────────────────────────────────────────────────────────

function planStored(directory: string, store: Store, topics: readonly string[]): DirectoryPlan {
  const isClean = store.cleanShutdown !== undefined
  const all = store.topics.list()
  const unknown = topics.find(wanted => !all.some(({ topic }) => topic === wanted))
  if (unknown !== undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic: unknown.slice(0, 64) })
  const chosen = all.filter(({ topic }) => topics.length === 0 || topics.includes(topic))
  return {
    state: isClean ? 'closed' : 'crashed',
    partitions: chosen.flatMap(topic => planTopic(directory, store, topic, isClean)),
    findings: [],
    close: noClose,
  }
}

function planTopic(directory: string, store: Store, stored: NamedTopic, isClean: boolean): PlannedPartition[] {
  const { topic, topicId, partitions, config } = stored
  const checkpoints = store.checkpoints.ofTopic(topicId)
  const { compacts } = parseTopicConfig(config)
  return Array.from({ length: partitions }, (_, partition) => {
    const { recoveryPoint = 0, logStartOffset = 0, cleanedOffset = 0, segments } = checkpoints.get(partition) ?? {}
    const known = { isClean, recoveryPoint, logStartOffset, cleanedOffset, compacts }
    const path = join(directory, partitionDirectory(topic, partition))
    // A topic is stored before its folders are made: a crash in between leaves a partition without one.
    const isExpected = segments !== undefined || recoveryPoint > 0
    const plan = folderPlan(path, segments === undefined ? known : { ...known, segments }, isExpected)
    return { topic, partition, plan }
  })
}

function folderPlan(path: string, stored: Parameters<typeof planFolder>[1], isExpected: boolean): PartitionToVerify {
  try {
    return planFolder(path, stored)
  } catch (error) {
    if (!isMillraceError(error, 'DIRECTORY_NOT_FOUND')) throw error
    const lost: Finding = { kind: 'file', severity: 'damage', path, position: 0, reason: 'the folder is missing' }
    const findings = isExpected ? [lost] : []
    return { directory: path, segments: [], logEndOffset: undefined, isCompacted: false, findings }
  }
}

/** The folders by themselves: what nobody can look up is taken as it is. */
function planWithoutStore(directory: string, error: MillraceError): DirectoryPlan {
  const { reason = 'damaged', page } = error.details
  const where = page === undefined ? '' : `, page ${page}`
  const finding: Finding = {
    kind: 'file',
    severity: 'damage',
    path: join(directory, 'store', 'data.mdb'),
    position: 0,
    reason: `the metadata store is damaged: ${reason}${where}`,
  }
  const stored = { isClean: false, recoveryPoint: 0, logStartOffset: 0, cleanedOffset: 0, compacts: true }
  const partitions = listDirectory(directory).flatMap((name): PlannedPartition[] => {
    const parsed = parsePartitionDirectory(name)
    const path = join(directory, name)
    if (parsed === undefined || !statSync(path).isDirectory()) return []
    return [{ ...parsed, plan: folderPlan(path, stored, false) }]
  })
  return { state: 'crashed', partitions, findings: [finding], close: noClose }
}

// ── results ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes that there are to read. */
export function bytesOf(segments: readonly SegmentToVerify[]): number {
  return segments.reduce((sum, { directory, baseOffset, sizeBytes }) => {
    return sum + (sizeBytes ?? fileBytes(join(directory, segmentFileName(baseOffset, 'log'))) ?? 0)
  }, 0)
}

/**
 * A partition from its segments. Where something seems wrong beside an owner that has removed or replaced segments meanwhile, all of
 * it is verified again.
 * @param verified one for each segment, in their order
 */
export async function settlePartition(
  planned: PlannedPartition,
  verified: readonly Verified[],
): Promise<PartitionVerification> {
  let current = planned
  let results = verified
  for (let attempt = 0; ; attempt++) {
    const { published, plan } = current
    const isDoubtful = results.some(result => result === undefined) || joinSegments(plan, results).findings.length > 0
    if (published === undefined || !isDoubtful) break
    const again = await published.again()
    const keys = new Set(again.published?.keys)
    const isListed = published.keys.map(key => keys.has(key))
    if (isListed.every(listed => listed)) break
    if (attempt === ATTEMPTS) {
      // Nothing can be said about what is replaced as fast as it is read.
      return joinSegments(
        plan,
        results.map((result, index) => (isListed[index] ? result : undefined)),
      )
    }
    current = again
    results = again.plan.segments.map(segment => verifyOne(segment))
  }
  const { segments } = current.plan
  return joinSegments(
    current.plan,
    results.map((result, index) => result ?? missingSegment(segments[index] as SegmentToVerify)),
  )
}
