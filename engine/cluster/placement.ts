/** Which brokers get the replicas of new partitions. Pure. */
import { MillraceError } from '../base/errors.ts'

/**
 * Replicas of `count` partitions from number `first` on, spread over the brokers: first replicas go round, and the others of a partition are
 * shifted by one more with each round, so that the followers of one broker's leaders are not all on one other.
 * @param brokerIds live ones
 * @param start where the round begins, any whole number: topics begin at different brokers
 * @throws INVALID_REPLICATION_FACTOR when a broker would get two replicas of a partition
 */
export function placeReplicas(
  brokerIds: readonly number[],
  first: number,
  count: number,
  replicationFactor: number,
  start: number,
): number[][] {
  if (replicationFactor < 1 || replicationFactor > brokerIds.length) {
    throw new MillraceError('INVALID_REPLICATION_FACTOR', { replicationFactor, liveBrokers: brokerIds.length })
  }
  const brokers = [...brokerIds].sort((a, b) => a - b)
  const { length } = brokers
  return Array.from({ length: count }, (_, index) => {
    const partition = first + index
    const leader = (start + partition) % length
    const shift = length > 1 ? Math.floor(partition / length) % (length - 1) : 0
    return Array.from({ length: replicationFactor }, (_, replica) => {
      const step = replica === 0 ? 0 : 1 + ((shift + replica - 1) % (length - 1))
      return brokers[(leader + step) % length] as number
    })
  })
}
