/**
 * One replica that the replicator thread brings up to its leader, as the broker's thread sees it: it watches the follower's log end, tells the
 * leader, and takes what the leader says is agreed on.
 */
import { isMillraceError, type MillraceError } from '../base/errors.ts'
import type { ReplicatorStream } from '../broker/replicator.ts'
import type { ClientPartition } from '../broker/topic-metadata.ts'
import { takeBounds } from '../cluster/replica-fetcher.ts'
import type { FollowedReplica, ReplicaStream } from '../cluster/replica-source.ts'
import { SLOT } from '../memory/control-block.ts'
import type { KafkaService } from './service.ts'

export class LocalStream implements ReplicaStream {
  readonly #leader: KafkaService
  readonly #follower: KafkaService
  readonly #replica: FollowedReplica
  readonly #ended: (error: MillraceError | undefined) => void
  readonly #stream: ReplicatorStream
  readonly #look = (): void => this.look()
  #isOver = false
  /** What the leader has deleted is being deleted. */
  #isTaking = false

  /** Undefined when the leader does not lead any more. @param ended called once, not within this call */
  static start(
    leader: KafkaService,
    follower: KafkaService,
    replica: FollowedReplica,
    ended: (error: MillraceError | undefined) => void,
  ): LocalStream | undefined {
    const { topic, partition } = replica.hosted
    const led = leader.ledPartition(leader.topic({ name: topic }), partition)
    return typeof led === 'number' ? undefined : new LocalStream(leader, follower, replica, ended, led)
  }

  private constructor(
    leader: KafkaService,
    follower: KafkaService,
    replica: FollowedReplica,
    ended: (error: MillraceError | undefined) => void,
    led: ClientPartition,
  ) {
    this.#leader = leader
    this.#follower = follower
    this.#replica = replica
    this.#ended = ended
    const { hosted } = replica
    const { broker } = follower
    const target = broker.clientTopic(hosted.topic).partitions[hosted.partition] as ClientPartition
    const source = { memory: leader.broker.memory.handle, partition: led }
    this.#stream = follower.replicator.stream(source, target, {
      epoch: (epoch, offset) => {
        if (epoch > (hosted.epochs.at(-1)?.epoch ?? -1)) broker.replicas.noteEpoch(hosted, epoch, offset)
      },
      ended: error => this.#end(error),
    })
    follower.arrivals.watch(hosted, broker.memory.control.get(hosted.slot, SLOT.logEndOffset), this.#look)
  }

  isOf(topic: string, partition: number): boolean {
    return this.#replica.hosted.topic === topic && this.#replica.hosted.partition === partition
  }

  /** The leader has begun another epoch, or leads no more: what its log has from now on may be another leader's. */
  leadershipChanged(): void {
    const { topicId, partition } = this.#replica.hosted
    const epoch = this.#leader.node?.replicas.leadershipOf(topicId, partition)?.leaderEpoch
    if (epoch !== this.#replica.leaderEpoch) void this.close()
  }

  /** Tells the leader how far the follower has come, and the follower what is agreed on. */
  look(): void {
    if (this.#isOver) return
    const { hosted, leaderEpoch } = this.#replica
    const { topicId, partition, slot } = hosted
    const { node, broker } = this.#follower
    const { control } = broker.memory
    const brokerEpoch = node?.brokerEpoch
    if (node === undefined || brokerEpoch === undefined) return // it is not registered just now
    const replicas = this.#leader.node?.replicas
    const offset = control.get(slot, SLOT.logEndOffset)
    const position = { brokerId: node.brokerId, brokerEpoch, leaderEpoch, offset, isDiverging: false }
    const isTaken = control.get(slot, SLOT.failure) === 0 && replicas?.fetched(topicId, partition, position) === 'taken'
    const leadership = replicas?.leadershipOf(topicId, partition)
    if (!isTaken || leadership === undefined) {
      void this.close()
      return
    }
    const led = this.#leader.ledPartition(this.#leader.topic({ name: hosted.topic }), partition)
    if (typeof led === 'number') return
    const logStartOffset = this.#leader.broker.memory.control.get(led.slot, SLOT.logStartOffset)
    const { highWatermark } = leadership
    if (this.#isTaking) broker.replicas.commit(hosted, highWatermark)
    else void this.#take(highWatermark, logStartOffset)
  }

  async #take(highWatermark: number, logStartOffset: number): Promise<void> {
    this.#isTaking = true
    try {
      await takeBounds(this.#follower.broker, this.#replica.hosted, { highWatermark, logStartOffset })
    } catch (error) {
      if (!isMillraceError(error)) throw error // what is wrong with the log is told by whoever meets it next
    } finally {
      this.#isTaking = false
    }
  }

  close(): Promise<void> {
    this.#isOver = true
    return this.#stream.close()
  }

  #end(error: MillraceError | undefined): void {
    this.#isOver = true
    const { hosted } = this.#replica
    this.#follower.arrivals.unwatch(hosted, this.#look)
    this.#ended(error)
  }
}
