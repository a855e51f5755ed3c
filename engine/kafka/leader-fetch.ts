/** A follower's fetch as a call to its leader's service, of one that is within reach of a call. */
import { MillraceError } from '../base/errors.ts'
import type { FetchedReplica, FetchPosition, ReplicaFetchOptions } from '../cluster/replica-source.ts'
import { KAFKA_ERROR } from './error-codes.ts'
import { handleFetch } from './handlers/fetch.ts'
import { FETCH_VERSION, fetchTopicsOf, NO_SESSION, refusalOf } from './replica-fetch.ts'
import type { KafkaService } from './service.ts'

export interface LeaderFetchOptions extends ReplicaFetchOptions {
  /** Fewer than these are waited for. */
  readonly minBytes: number
}

/** Pieces of the answer are views of the leader's log. @throws CONNECTION_FAILED */
export async function askLeader(
  leader: KafkaService,
  positions: readonly FetchPosition[],
  options: LeaderFetchOptions,
): Promise<readonly FetchedReplica[]> {
  const { brokerId, brokerEpoch, maxWaitMs, minBytes, maxBytes, partitionMaxBytes } = options
  const topics = fetchTopicsOf(positions, partitionMaxBytes).map(({ topicId, partitions }) => ({
    topic: '',
    topicId,
    partitions: partitions.map(one => ({ ...one, replicaDirectoryId: '', highWatermark: Number.MAX_SAFE_INTEGER })),
  }))
  const answer = await handleFetch(
    leader,
    {
      clusterId: null,
      replicaId: -1,
      replicaState: { replicaId: brokerId, replicaEpoch: brokerEpoch },
      maxWaitMs,
      minBytes,
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
      signal: new AbortController().signal,
    },
  )
  if (answer === undefined || answer.errorCode !== KAFKA_ERROR.NONE) {
    throw new MillraceError('CONNECTION_FAILED', { broker: brokerId, errorCode: answer?.errorCode ?? -1 })
  }
  return answer.responses.flatMap(({ topicId = '', partitions }) =>
    partitions.map(({ partitionIndex, errorCode, highWatermark, logStartOffset = 0, records, divergingEpoch }) => {
      const { epoch = -1, endOffset = -1 } = divergingEpoch ?? {}
      const fetched: FetchedReplica = {
        topicId,
        partition: partitionIndex,
        highWatermark,
        logStartOffset,
        pieces: piecesOf(records),
        ...(errorCode === KAFKA_ERROR.NONE ? {} : { refusal: refusalOf(errorCode) }),
        ...(divergingEpoch === undefined ? {} : { diverging: { epoch, endOffset } }),
      }
      return fetched
    }),
  )
}

function piecesOf(records: Uint8Array | readonly Uint8Array[] | null): readonly Uint8Array[] {
  if (records === null) return []
  return records instanceof Uint8Array ? [records] : records
}
