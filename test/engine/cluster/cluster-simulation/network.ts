/** Fetches between brokers of a simulation: lost, late, repeated; the leader handles them with the engine's code. */
import { MillraceError } from '../../../../engine/base/errors.ts'
import type { Random } from '../../../../engine/base/random.ts'
import type {
  FetchedReplica,
  FetchPosition,
  ReplicaFetchOptions,
  ReplicaSource,
} from '../../../../engine/cluster/replica-source.ts'
import { askLeader } from '../../../../engine/kafka/leader-fetch.ts'
import type { KafkaService } from '../../../../engine/kafka/service.ts'
import type { Process, VirtualTime } from './virtual-time.ts'

const TIMEOUT_MS = 900
const LATE_MS_MAX = 3_000
const NEAR_MS_MAX = 8

export interface NetworkTroubles {
  readonly time: VirtualTime
  readonly random: Random
  /** Of messages, that they never arrive. */
  lossRate: number
  /** Of messages, that they arrive much later. */
  lateRate: number
  /** Of requests, that they arrive once more. */
  repeatRate: number
}

interface Leader {
  readonly process: Process
  readonly service: KafkaService | undefined
}

export class SimulatedSource implements ReplicaSource {
  readonly #network: NetworkTroubles
  readonly #follower: Process
  readonly #leader: () => Leader | undefined
  #fail: ((error: Error) => void) | undefined

  /** @param leader whoever has the leader's address when a message arrives */
  constructor(network: NetworkTroubles, follower: Process, leader: () => Leader | undefined) {
    this.#network = network
    this.#follower = follower
    this.#leader = leader
  }

  fetch(positions: readonly FetchPosition[], options: ReplicaFetchOptions): Promise<readonly FetchedReplica[]> {
    const { time, random, repeatRate } = this.#network
    const { promise, resolve, reject } = Promise.withResolvers<readonly FetchedReplica[]>()
    const timer = time.after(TIMEOUT_MS, this.#follower, () =>
      reject(new MillraceError('TIMED_OUT', { what: 'fetch' })),
    )
    this.#fail = reject
    const send = (): void =>
      this.#send(undefined, () => {
        const leader = this.#leader()
        if (leader?.service === undefined) {
          // Nobody listens there.
          time.after(1, this.#follower, () => reject(new MillraceError('CONNECTION_FAILED', { broker: 0 })))
          return
        }
        const { process, service } = leader
        time.after(0, process, () => {
          askLeader(service, positions, { ...options, minBytes: 1 }).then(
            answer => this.#send(this.#follower, () => resolve(answer)),
            error => this.#send(this.#follower, () => reject(error)),
          )
        })
      })
    send()
    if (random.chance(repeatRate)) send()
    return promise.finally(() => {
      timer.isCancelled = true
    })
  }

  interrupt(): void {
    this.#fail?.(new MillraceError('CLOSED', { object: 'replica source' }))
  }

  close(): void {
    this.interrupt()
  }

  #send(to: Process | undefined, arrive: () => void): void {
    const { time, random, lossRate, lateRate } = this.#network
    if (random.chance(lossRate)) return
    time.after(random.below(random.chance(lateRate) ? LATE_MS_MAX : NEAR_MS_MAX), to, arrive)
  }
}
