/**
 * Fetch: views of the mapped log, sent as they are. An answer that has fewer bytes than the client wants waits for records
 * to arrive, without polling, and no longer than the client says.
 */
import { isMillraceError } from '../../base/errors.ts'
import type { ClientPartition } from '../../broker/topic-metadata.ts'
import { SLOT, STATE } from '../../memory/control-block.ts'
import type { WrittenMessage } from '../codec/notation.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../limits.ts'
import type { fetch, fetchResponse } from '../messages/fetch.ts'
import type { CachedPartition, FetchSession, FoundPartition, WantedPartition } from '../server/fetch-sessions.ts'
import type { Call, KafkaService } from '../service.ts'
import { epochFault } from './leader-epochs.ts'

type FetchRequest = Parameters<Handler<typeof fetch>>[1]
type FetchAnswer = WrittenMessage<typeof fetchResponse>
type PartitionAnswer = FetchAnswer['responses'][number]['partitions'][number]

const ID_VERSION = 13
const STATE_VERSION = 15
const FINAL_EPOCH = -1
const INITIAL_EPOCH = 0
const READ_COMMITTED = 1
const NOTHING: readonly Uint8Array[] = []

/** What is read for one partition. */
interface Fetched {
  readonly wanted: WantedPartition
  readonly errorCode: number
  readonly bytes: number
  readonly highWatermark: number
  readonly logStartOffset: number
  readonly isDiverging?: boolean
  readonly answer: PartitionAnswer
  /** Undefined with an error. */
  readonly found?: FoundPartition
}

interface Follower {
  readonly brokerId: number
  readonly brokerEpoch: number
}

interface Reading {
  readonly isCommitted: boolean
  readonly follower: Follower | undefined
  readonly session: FetchSession | undefined
}

/** What a request is about, once its session is known. */
interface Context {
  /** All partitions that the request names. With an incremental session that is what has changed. */
  readonly named: readonly WantedPartition[]
  /** Undefined: the client fetches without a session. */
  readonly session: FetchSession | undefined
  /** Only what is new to the client is told. */
  readonly isIncremental: boolean
}

/** Of a follower that has everything the leader hears so often; far less than any lag that puts it out. */
const FOLLOWER_NEWS_MS = 200

export const handleFetch: Handler<typeof fetch> = async (service, request, call) => {
  const context = contextOf(service, request, call.apiVersion)
  if (typeof context === 'number') return { errorCode: context, sessionId: 0, responses: [] }
  const maxBytes = Math.min(request.maxBytes, FETCH_BYTES_MAX)
  const isCommitted = request.isolationLevel === READ_COMMITTED
  const follower = followerOf(request, call.apiVersion)
  const reading: Reading = { isCommitted, follower, session: context.session }
  const read = (): Fetched[] => readAll(service, partitionsToRead(service, context, follower), maxBytes, reading)
  const maxWaitMs = Math.min(request.maxWaitMs, FETCH_WAIT_MS_MAX)
  let fetched = read()
  if (!isEnough(fetched, request.minBytes) && maxWaitMs > 0 && !isOfNothing(context)) {
    await waitFor(service, call, watchedOf(service, context), maxWaitMs, () => {
      fetched = read()
      return isEnough(fetched, request.minBytes)
    })
  }
  return answerOf(context, fetched, call.apiVersion)
}

/** Who follows with this request, undefined for a consumer. Older versions do not say under which epoch a follower is registered. */
function followerOf({ replicaId, replicaState }: FetchRequest, version: number): Follower | undefined {
  if (version < STATE_VERSION) return replicaId < 0 ? undefined : { brokerId: replicaId, brokerEpoch: -1 }
  const { replicaId: brokerId, replicaEpoch: brokerEpoch } = replicaState
  return brokerId < 0 ? undefined : { brokerId, brokerEpoch }
}

function contextOf(service: KafkaService, request: FetchRequest, version: number): Context | number {
  const { sessionId, sessionEpoch } = request
  const isId = version >= ID_VERSION
  const named = request.topics.flatMap(({ topic, topicId, partitions }) =>
    partitions.map(
      ({ partition, currentLeaderEpoch, fetchOffset, lastFetchedEpoch, partitionMaxBytes }): WantedPartition => ({
        topic: isId ? topicId : topic,
        isId,
        partition,
        currentLeaderEpoch,
        fetchOffset,
        lastFetchedEpoch,
        maxBytes: partitionMaxBytes,
      }),
    ),
  )
  if (sessionEpoch === FINAL_EPOCH || sessionEpoch === INITIAL_EPOCH) {
    service.sessions.close(sessionId)
    const session = sessionEpoch === FINAL_EPOCH ? undefined : service.sessions.open(named)
    return { named, session, isIncremental: false }
  }
  const forgotten = request.forgottenTopicsData.flatMap(({ topic, topicId, partitions }) =>
    partitions.map(partition => ({ topic: isId ? topicId : topic, isId, partition })),
  )
  const session = service.sessions.resume(sessionId, sessionEpoch, named, forgotten)
  if (typeof session === 'string') return KAFKA_ERROR[session]
  return { named, session, isIncremental: true }
}

const isOfNothing = ({ named, session, isIncremental }: Context): boolean =>
  (isIncremental ? session?.size : named.length) === 0

/** Of an incremental session those that may have news. */
function partitionsToRead(
  service: KafkaService,
  context: Context,
  follower: Follower | undefined,
): readonly WantedPartition[] {
  const { named, session, isIncremental } = context
  if (!isIncremental || session === undefined) return named
  const nowMs = performance.now()
  const all: WantedPartition[] = []
  for (const cached of session.partitions)
    if (mayHaveNews(service, cached, follower !== undefined, nowMs)) all.push(cached.wanted)
  return all
}

function mayHaveNews(service: KafkaService, cached: CachedPartition, isFollower: boolean, nowMs: number): boolean {
  const { found, wanted } = cached
  if (cached.isChanged || cached.hadError || found === undefined) return true
  const { control } = service.broker.memory
  const { slot, slotGeneration } = found.at
  if (control.get(slot, SLOT.slotGeneration) !== slotGeneration || control.get(slot, SLOT.role) !== found.role)
    return true
  if (control.get(slot, SLOT.leaderEpoch) !== found.leaderEpoch || control.get(slot, SLOT.state) !== STATE.online)
    return true
  const highWatermark = control.get(slot, SLOT.highWatermark)
  const end = isFollower ? control.get(slot, SLOT.logEndOffset) : highWatermark
  if (end > wanted.fetchOffset || highWatermark !== cached.highWatermark) return true
  if (control.get(slot, SLOT.logStartOffset) !== cached.logStartOffset) return true
  return isFollower && nowMs - cached.readAtMs > FOLLOWER_NEWS_MS
}

interface Watched {
  readonly at: ClientPartition
  readonly offset: number
}

/** Where records may arrive that the request waits for. */
function* watchedOf(service: KafkaService, context: Context): Generator<Watched> {
  const { named, session, isIncremental } = context
  if (isIncremental && session !== undefined) {
    for (const { found, wanted } of session.partitions)
      if (found !== undefined) yield { at: found.at, offset: wanted.fetchOffset }
    return
  }
  for (const wanted of named) {
    const at = find(service, wanted)
    if (typeof at !== 'number') yield { at, offset: wanted.fetchOffset }
  }
}

function readAll(
  service: KafkaService,
  wanted: readonly WantedPartition[],
  maxBytes: number,
  reading: Reading,
): Fetched[] {
  const all: Fetched[] = []
  const nowMs = performance.now()
  let bytes = 0
  for (const partition of wanted) {
    const most = Math.min(partition.maxBytes, maxBytes - bytes)
    const fetched = readOne(service, partition, most, bytes === 0, reading)
    reading.session?.read(partition, fetched.found, nowMs)
    bytes += fetched.bytes
    all.push(fetched)
  }
  return all
}

function readOne(
  service: KafkaService,
  wanted: WantedPartition,
  maxBytes: number,
  isFirst: boolean,
  { isCommitted, follower }: Reading,
): Fetched {
  const partition = find(service, wanted)
  if (typeof partition === 'number') return failed(wanted, partition)
  const { control } = service.broker.memory
  try {
    const fault = epochFault(service, partition, wanted.currentLeaderEpoch)
    if (fault !== undefined) return failed(wanted, fault)
    const wire = service.readers.of(partition)
    const diverging = divergingEpoch(service, partition, wanted)
    const isDiverging = diverging !== undefined
    if (!isDiverging) wire.reader.demandInRange(wanted.fetchOffset)
    if (follower !== undefined) {
      const refusal = takeFollower(service, partition, wanted, follower, isDiverging)
      if (refusal !== undefined) return failed(wanted, refusal)
    }
    const { logStartOffset, logEndOffset } = wire.reader
    const { slot } = partition
    const highWatermark = control.get(slot, SLOT.highWatermark)
    const found = {
      at: partition,
      role: control.get(slot, SLOT.role),
      leaderEpoch: control.get(slot, SLOT.leaderEpoch),
    }
    const { pieces, bytes } = isDiverging
      ? { pieces: NOTHING, bytes: 0 }
      : wire.read(
          wanted.fetchOffset,
          maxBytes,
          isFirst && maxBytes > 0,
          follower === undefined ? undefined : logEndOffset,
        )
    const answer: PartitionAnswer = {
      partitionIndex: wanted.partition,
      errorCode: KAFKA_ERROR.NONE,
      highWatermark,
      lastStableOffset: control.get(partition.slot, SLOT.lastStableOffset),
      logStartOffset,
      abortedTransactions: isCommitted ? (wire.aborted?.within(wanted.fetchOffset, highWatermark) ?? []) : null,
      records: pieces,
      ...(diverging === undefined ? {} : { divergingEpoch: diverging }),
    }
    return { wanted, errorCode: 0, bytes, highWatermark, logStartOffset, isDiverging, answer, found }
  } catch (error) {
    if (isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) {
      const highWatermark = control.get(partition.slot, SLOT.highWatermark)
      const logStartOffset = control.get(partition.slot, SLOT.logStartOffset)
      return failed(wanted, KAFKA_ERROR.OFFSET_OUT_OF_RANGE, highWatermark, logStartOffset)
    }
    return failed(wanted, kafkaCodeOf(error))
  }
}

/** A follower's fetch says what it has. The code of the error when it is none of ours. */
function takeFollower(
  service: KafkaService,
  { topic, partition }: ClientPartition,
  { currentLeaderEpoch, fetchOffset }: WantedPartition,
  follower: Follower,
  isDiverging: boolean,
): number | undefined {
  const topicId = service.broker.topicIdOf(topic)
  if (service.node === undefined || topicId === undefined) return KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER
  const position = { ...follower, leaderEpoch: currentLeaderEpoch, offset: fetchOffset, isDiverging }
  const outcome = service.node.replicas.fetched(topicId, partition, position)
  if (outcome === 'fenced') return KAFKA_ERROR.FENCED_LEADER_EPOCH
  if (outcome === 'unknown-epoch') return KAFKA_ERROR.UNKNOWN_LEADER_EPOCH
  return outcome === 'not-leader' || outcome === 'not-a-replica' ? KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER : undefined
}

function find(service: KafkaService, { topic, isId, partition }: WantedPartition): ClientPartition | number {
  return service.ledPartition(service.topic(isId ? { topicId: topic } : { name: topic }), partition)
}

function failed(wanted: WantedPartition, errorCode: number, highWatermark = -1, logStartOffset = -1): Fetched {
  const answer = {
    partitionIndex: wanted.partition,
    errorCode,
    highWatermark,
    logStartOffset,
    abortedTransactions: null,
    records: NOTHING,
  }
  return { wanted, errorCode, bytes: 0, highWatermark, logStartOffset, answer }
}

/** Where the log that a follower has parts from this one, undefined while it does not (KIP-595). */
function divergingEpoch(
  { broker }: KafkaService,
  { topic, partition }: ClientPartition,
  { lastFetchedEpoch, fetchOffset }: WantedPartition,
): { epoch: number; endOffset: number } | undefined {
  if (lastFetchedEpoch < 0) return undefined
  const end = broker.offsetForLeaderEpoch(topic, partition, lastFetchedEpoch)
  if (end === undefined) return { epoch: -1, endOffset: -1 }
  const isOurs = end.leaderEpoch === lastFetchedEpoch && end.endOffset >= fetchOffset
  return isOurs ? undefined : { epoch: end.leaderEpoch, endOffset: end.endOffset }
}

/** Enough is also an error, and a log that parts: the client wants to know. */
function isEnough(fetched: readonly Fetched[], minBytes: number): boolean {
  let bytes = 0
  for (const { bytes: more, errorCode, answer } of fetched) {
    if (errorCode !== KAFKA_ERROR.NONE || answer.divergingEpoch !== undefined) return true
    bytes += more
  }
  return bytes >= minBytes
}

/** Resolves when `look` is satisfied, which is asked after each arrival, or the time is over, or the connection ends. */
function waitFor(
  service: KafkaService,
  { signal }: Call,
  partitions: Iterable<Watched>,
  maxWaitMs: number,
  look: () => boolean,
): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const watched: ClientPartition[] = []
    let isDue = false
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      for (const partition of watched.splice(0)) service.arrivals.unwatch(partition, arrived)
      resolve()
    }
    // What arrives in one turn of the event loop is looked at once.
    const arrived = (): void => {
      if (isDue || watched.length === 0) return
      isDue = true
      queueMicrotask(() => {
        isDue = false
        if (watched.length > 0 && look()) end()
      })
    }
    const timer = setTimeout(end, maxWaitMs)
    signal.addEventListener('abort', end)
    for (const { at, offset } of partitions) {
      watched.push(at)
      service.arrivals.watch(at, offset, arrived)
    }
    if (watched.length === 0) end()
  })
}

function answerOf({ session, isIncremental }: Context, fetched: readonly Fetched[], version: number): FetchAnswer {
  const byTopic = new Map<string, PartitionAnswer[]>()
  for (const state of fetched) {
    const { wanted, answer } = state
    if (isIncremental && session?.isNews(wanted, state) === false) continue
    session?.told(wanted, state)
    const answers = byTopic.get(wanted.topic)
    if (answers === undefined) byTopic.set(wanted.topic, [answer])
    else answers.push(answer)
  }
  const isId = version >= ID_VERSION
  return {
    errorCode: KAFKA_ERROR.NONE,
    sessionId: session?.id ?? 0,
    responses: Array.from(byTopic, ([topic, partitions]) =>
      isId ? { topicId: topic, partitions } : { topic, partitions },
    ),
  }
}
