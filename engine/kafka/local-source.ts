/**
 * Replication within a process. A follower asks its leader's service directly whether their logs agree, and gets no records; then the
 * replicator thread of the follower's engine brings them from the leader's mapped segments (engine/broker/replicator.ts). How far that has
 * come stands in the follower's control block, and this thread tells the leader.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import type {
  FetchPosition,
  FollowedReplica,
  ReplicaFetchOptions,
  ReplicaSource,
  ReplicaStream,
} from '../cluster/replica-source.ts'
import { askLeader } from './leader-fetch.ts'
import { LocalStream } from './local-stream.ts'
import type { KafkaService } from './service.ts'

/** How often a leader hears of a follower that has everything, and a follower of what is agreed on. */
const TICK_MS = 250
/** After a stream that ended with an error. */
const RETRY_MS = 1_000

export class LocalSource implements ReplicaSource {
  readonly #leader: KafkaService
  readonly #follower: KafkaService
  readonly #streams = new Set<LocalStream>()
  readonly #forget: (() => void) | undefined
  readonly #timer: NodeJS.Timeout
  #mayStreamAtMs = 0
  #isClosed = false

  constructor(leader: KafkaService, follower: KafkaService) {
    this.#leader = leader
    this.#follower = follower
    this.#timer = setInterval(() => {
      for (const stream of this.#streams) stream.look()
    }, TICK_MS).unref()
    // Before the leader's log is cut for another leader, and in the same turn.
    this.#forget = leader.node?.replicas.onLeadership((topic, partition) => {
      for (const stream of this.#streams) if (stream.isOf(topic, partition)) stream.leadershipChanged()
    })
  }

  async fetch(positions: readonly FetchPosition[], { brokerId, brokerEpoch }: ReplicaFetchOptions) {
    await nextTurn() // an answer that is there at once is no reason to ask again before anybody else has had a turn
    if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'replica source' })
    const nothing = { maxWaitMs: 0, minBytes: 0, maxBytes: 0, partitionMaxBytes: 0 }
    return await askLeader(this.#leader, positions, { brokerId, brokerEpoch, ...nothing })
  }

  stream(replica: FollowedReplica, ended: () => void): ReplicaStream | undefined {
    if (this.#isClosed || performance.now() < this.#mayStreamAtMs) return undefined
    const stream = LocalStream.start(this.#leader, this.#follower, replica, error => {
      this.#streams.delete(stream as LocalStream)
      if (error !== undefined) this.#mayStreamAtMs = performance.now() + RETRY_MS
      ended()
    })
    if (stream !== undefined) this.#streams.add(stream)
    return stream
  }

  interrupt(): void {
    // A fetch is answered at once.
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#forget?.()
    for (const stream of this.#streams) void stream.close()
  }
}
