/**
 * Replication over TCP: a follower's fetches as Kafka's Fetch requests to its leader's listener, over one connection that is opened when it is
 * needed. One request at a time, in a fetch session where the leader has room for one: then requests name what has changed, and answers hold what is new.
 */
import { MillraceError } from '../base/errors.ts'
import type { LiveBroker } from '../cluster/cluster-state.ts'
import type { FetchedReplica, FetchPosition, ReplicaFetchOptions, ReplicaSource } from '../cluster/replica-source.ts'
import { readResponse, writeRequest } from './codec/frames.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import { fetch } from './messages/fetch.ts'
import { PeerConnection } from './peer-connection.ts'
import { PeerSession } from './peer-session.ts'
import { FETCH_VERSION, fetchTopicsOf, refusalOf } from './replica-fetch.ts'

/** Beyond what the leader was asked to wait. */
const ANSWER_MS = 10_000
const LOST_SESSION = new Set<number>([
  KAFKA_ERROR.FETCH_SESSION_ID_NOT_FOUND,
  KAFKA_ERROR.INVALID_FETCH_SESSION_EPOCH,
  KAFKA_ERROR.FETCH_SESSION_TOPIC_ID_ERROR,
])

export class PeerSource implements ReplicaSource {
  readonly #leader: LiveBroker
  readonly #clientId: string
  readonly #session = new PeerSession()
  #connection: PeerConnection | undefined
  #isClosed = false

  constructor(leader: LiveBroker, brokerId: number) {
    this.#leader = leader
    this.#clientId = `broker-${brokerId}-fetcher`
  }

  async fetch(positions: readonly FetchPosition[], options: ReplicaFetchOptions): Promise<readonly FetchedReplica[]> {
    try {
      let body = await this.#ask(positions, options)
      if (LOST_SESSION.has(body.errorCode)) {
        this.#session.reset()
        body = await this.#ask(positions, options)
      }
      if (body.errorCode !== KAFKA_ERROR.NONE)
        throw new MillraceError('CONNECTION_FAILED', { broker: this.#leader.brokerId, errorCode: body.errorCode })
      this.#session.answered(body.sessionId)
      return body.responses.flatMap(({ topicId, partitions }) => partitions.map(one => takenOf(topicId, one)))
    } catch (error) {
      this.#session.reset() // whether the leader took it nobody knows
      throw error
    }
  }

  async #ask(positions: readonly FetchPosition[], options: ReplicaFetchOptions) {
    const connection = await this.#connect()
    const { brokerId, brokerEpoch, maxWaitMs, maxBytes, partitionMaxBytes } = options
    const { sessionId, sessionEpoch, positions: named, forgotten } = this.#session.request(positions)
    const topics = fetchTopicsOf(named, partitionMaxBytes)
    const forgottenTopicsData = [...Map.groupBy(forgotten, ({ topicId }) => topicId)].map(([topicId, mine]) => ({
      topicId,
      partitions: mine.map(({ partition }) => partition),
    }))
    const { body } = await connection.ask(
      id =>
        writeRequest(fetch, FETCH_VERSION, id, this.#clientId, {
          replicaState: { replicaId: brokerId, replicaEpoch: brokerEpoch },
          maxWaitMs,
          minBytes: 1,
          maxBytes,
          sessionId,
          sessionEpoch,
          topics,
          forgottenTopicsData,
        }),
      frame => readResponse(fetch, FETCH_VERSION, frame),
      maxWaitMs + ANSWER_MS,
    )
    return body
  }

  interrupt(): void {
    this.#connection?.end(
      new MillraceError('CONNECTION_FAILED', { broker: this.#leader.brokerId, reason: 'interrupted' }),
    )
  }

  close(): void {
    this.#isClosed = true
    this.#connection?.end(new MillraceError('CLOSED', { broker: this.#leader.brokerId }))
  }

  async #connect(): Promise<PeerConnection> {
    if (this.#isClosed) throw new MillraceError('CLOSED', { broker: this.#leader.brokerId })
    if (this.#connection?.isOpen === true) return this.#connection
    const connection = new PeerConnection(this.#leader)
    this.#connection = connection
    await connection.opened
    return connection
  }
}

type PartitionAnswer = ReturnType<
  typeof readResponse<typeof fetch.response>
>['body']['responses'][number]['partitions'][number]

function takenOf(topicId: string, answer: PartitionAnswer): FetchedReplica {
  const { partitionIndex: partition, errorCode, highWatermark, logStartOffset, records } = answer
  const taken = { topicId, partition, highWatermark, logStartOffset, pieces: records === null ? [] : [records] }
  if (errorCode !== KAFKA_ERROR.NONE) return { ...taken, refusal: refusalOf(errorCode) }
  const { epoch, endOffset } = answer.divergingEpoch
  return epoch === -1 && endOffset === -1 ? taken : { ...taken, diverging: { epoch, endOffset } }
}
