/**
 * Replication within a process: a follower asks its leader's service directly, and gets views of the leader's mapped segments. They are copied once, into
 * the follower's slabs, from where its writer stores them.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import type { FetchedReplica, FetchPosition, ReplicaFetchOptions, ReplicaSource } from '../cluster/replica-source.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import { handleFetch } from './handlers/fetch.ts'
import { FETCH_VERSION, fetchTopicsOf, NO_SESSION, refusalOf } from './replica-fetch.ts'
import type { KafkaService } from './service.ts'

export class LocalSource implements ReplicaSource {
  readonly #leader: KafkaService
  /** Of the fetch under way, and of all that follow once it is closed. */
  #stop = new AbortController()
  #isClosed = false

  constructor(leader: KafkaService) {
    this.#leader = leader
  }

  async fetch(positions: readonly FetchPosition[], options: ReplicaFetchOptions): Promise<readonly FetchedReplica[]> {
    const { brokerId, brokerEpoch, maxWaitMs, maxBytes, partitionMaxBytes } = options
    const { signal } = this.#stop
    await nextTurn() // an answer that is there at once is no reason to ask again before anybody else has had a turn
    if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'replica source' })
    const topics = fetchTopicsOf(positions, partitionMaxBytes).map(({ topicId, partitions }) => ({
      topic: '',
      topicId,
      partitions: partitions.map(one => ({ ...one, replicaDirectoryId: '', highWatermark: Number.MAX_SAFE_INTEGER })),
    }))
    const answer = await handleFetch(
      this.#leader,
      {
        clusterId: null,
        replicaId: -1,
        replicaState: { replicaId: brokerId, replicaEpoch: brokerEpoch },
        maxWaitMs,
        minBytes: 1,
        maxBytes,
        isolationLevel: 0,
        sessionId: 0,
        sessionEpoch: NO_SESSION,
        topics,
        forgottenTopicsData: [],
        rackId: '',
      },
      {
        apiVersion: FETCH_VERSION,
        clientId: `broker-${brokerId}-fetcher`,
        clientHost: '/local',
        endpoint: { host: '', port: 0 },
        signal,
      },
    )
    if (signal.aborted) throw new MillraceError('CLOSED', { object: 'replica source' })
    if (answer === undefined || answer.errorCode !== KAFKA_ERROR.NONE) {
      throw new MillraceError('CONNECTION_FAILED', { broker: brokerId, errorCode: answer?.errorCode ?? -1 })
    }
    return answer.responses.flatMap(({ topicId = '', partitions }) =>
      partitions.map(({ partitionIndex, errorCode, highWatermark, logStartOffset = 0, records, divergingEpoch }) => {
        const pieces =
          records === null ? [] : 'length' in records && !(records instanceof Uint8Array) ? records : [records]
        const { epoch = -1, endOffset = -1 } = divergingEpoch ?? {}
        return {
          topicId,
          partition: partitionIndex,
          highWatermark,
          logStartOffset,
          pieces: pieces as readonly Uint8Array[],
          ...(errorCode === KAFKA_ERROR.NONE ? {} : { refusal: refusalOf(errorCode) }),
          ...(divergingEpoch === undefined ? {} : { diverging: { epoch, endOffset } }),
        }
      }),
    )
  }

  interrupt(): void {
    this.#stop.abort()
    this.#stop = new AbortController()
  }

  close(): void {
    this.#isClosed = true
    this.#stop.abort()
  }
}
