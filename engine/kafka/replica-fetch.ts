/** What both transports of replication make of a follower's positions, and of its leader's answers. */
import type { FetchPosition, FetchRefusal } from '../cluster/replica-source.ts'
import { KAFKA_ERROR } from './error-codes.ts'

/** Names topics by id, and followers with their epoch. */
export const FETCH_VERSION = 16
export const NO_SESSION = -1
export const NEW_SESSION = 0

const REFUSALS = new Map<number, FetchRefusal>([
  [KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER, 'not-leader'],
  [KAFKA_ERROR.FENCED_LEADER_EPOCH, 'not-leader'],
  [KAFKA_ERROR.UNKNOWN_LEADER_EPOCH, 'not-leader'],
  [KAFKA_ERROR.OFFSET_OUT_OF_RANGE, 'out-of-range'],
])

export const refusalOf = (errorCode: number): FetchRefusal => REFUSALS.get(errorCode) ?? 'failed'

/** The topics of a Fetch request. */
export function fetchTopicsOf(positions: readonly FetchPosition[], partitionMaxBytes: number) {
  return [...Map.groupBy(positions, ({ topicId }) => topicId)].map(([topicId, mine]) => ({
    topicId,
    partitions: mine.map(({ partition, leaderEpoch, offset, lastEpoch, logStartOffset }) => ({
      partition,
      currentLeaderEpoch: leaderEpoch,
      fetchOffset: offset,
      lastFetchedEpoch: lastEpoch,
      logStartOffset,
      partitionMaxBytes,
    })),
  }))
}
