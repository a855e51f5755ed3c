/**
 * A broker's place in the cluster: its registration under a lease, which it keeps alive, and takes anew when it was lost.
 *
 * Until when the broker may answer as a leader follows from the lease as its holder may count it (metadata store); whoever acknowledges
 * looks at that time itself, so a process that was stopped acknowledges nothing after it wakes up.
 *
 * Before it registers, a broker puts right what the store still says of its former life: it leads nothing, and where what it had
 * acknowledged may be gone (another boot of the machine without a clean close, or another directory) it is in sync with nobody (KIP-966).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { asMillraceError, MillraceError } from '../base/errors.ts'
import { bootTimeMs } from '../memory/libc.ts'
import type { ClusterImage } from './cluster-image.ts'
import {
  type BrokerAddress,
  brokerKey,
  type ClusterPartition,
  drainingKey,
  KEY,
  type Machine,
  machineKey,
  NO_LEADER,
  partitionKey,
  partitionValue,
  readMachine,
  readPartition,
} from './cluster-state.ts'
import { type Lease, type MetadataStore, OPERATIONS_MAX } from './metadata-store.ts'

/** Keep-alives in the time of a lease. */
const KEEP_ALIVES = 5
const RETRY_MS = 100
const BATCH = OPERATIONS_MAX / 2

export interface MembershipOptions {
  readonly brokerId: number
  readonly address: BrokerAddress
  readonly machine: Machine
  readonly store: MetadataStore
  readonly image: ClusterImage
  readonly leaseMs: number
  /** The broker may answer as a leader until then (CLOCK_BOOTTIME). */
  readonly extended: (endsAtMs: number) => void
  /** It is registered, under a new epoch. */
  readonly registered: (epoch: number) => void
  /** It is not any more; it registers again by itself. */
  readonly lost: () => void
  readonly report: (error: MillraceError) => void
}

export class Membership {
  readonly #options: MembershipOptions
  #lease: Lease | undefined
  #epoch: number | undefined
  #isClosed = false
  #running: Promise<void> | undefined
  readonly #stop = new AbortController()

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  /** While registered. */
  get lease(): Lease | undefined {
    return this.#lease
  }

  get epoch(): number | undefined {
    return this.#epoch
  }

  /** Registers; afterwards the lease is kept, and taken anew when it is lost. @throws DUPLICATE_BROKER, METADATA_STORE_UNAVAILABLE */
  async start(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      try {
        await this.#register()
        break
      } catch (error) {
        if (performance.now() > deadline) throw error
        await this.#pause()
        if (this.#isClosed) throw new MillraceError('CLOSED', { object: 'broker' })
      }
    }
    this.#running = this.#run()
  }

  /** Asks that others lead what it leads. */
  async drain(): Promise<void> {
    const { brokerId, store } = this.#options
    if (this.#lease === undefined) return
    await store.commit([], [{ key: drainingKey(brokerId), value: '{}', lease: this.#lease }])
  }

  /** Gives the registration back. @param isClean everything that the broker has is flushed, and its directory closed */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stop.abort()
    await this.#running
    const lease = this.#lease
    this.#lease = undefined
    await lease?.revoke().catch(() => {}) // it ends by itself
  }

  /**
   * What was acknowledged here survives whatever comes: the next start may rest on it, after another boot too. It rests on this registration: made
   * late, without an answer, it would say so of the next one.
   */
  async leaveClean(): Promise<void> {
    const { brokerId, machine, store } = this.#options
    if (this.#epoch === undefined) return
    const mine = { key: brokerKey(brokerId), version: this.#epoch }
    await store.commit([mine], [{ key: machineKey(brokerId), value: JSON.stringify({ ...machine, isClean: true }) }])
  }

  async #run(): Promise<void> {
    const { leaseMs, report } = this.#options
    while (!this.#isClosed) {
      await this.#pause(this.#lease === undefined ? RETRY_MS : leaseMs / KEEP_ALIVES)
      if (this.#isClosed) return
      try {
        if (this.#lease === undefined) await this.#register()
        else await this.#keep(this.#lease)
      } catch (error) {
        if (!this.#isClosed) report(asMillraceError(error))
      }
    }
  }

  async #keep(lease: Lease): Promise<void> {
    const { extended, lost } = this.#options
    if (await lease.keepAlive()) {
      extended(lease.endsAtMs)
      return
    }
    this.#lease = undefined
    this.#epoch = undefined
    extended(0)
    lost()
  }

  async #register(): Promise<void> {
    const { brokerId, address, store, image, leaseMs, extended, registered } = this.#options
    const holder = await store.get(brokerKey(brokerId))
    if (holder !== undefined) throw new MillraceError('DUPLICATE_BROKER', { brokerId, holder: holder.value })
    await this.#settleFormerLife()
    const lease = await store.lease(leaseMs)
    const value = JSON.stringify(address)
    const machine = JSON.stringify({ ...this.#options.machine, isClean: false })
    const outcome = await store.commit(
      [{ key: brokerKey(brokerId), version: 0 }],
      [
        { key: brokerKey(brokerId), value, lease },
        { key: machineKey(brokerId), value: machine },
      ],
    )
    if (outcome.kind !== 'done') {
      await lease.revoke().catch(() => {})
      throw new MillraceError('DUPLICATE_BROKER', { brokerId, outcome: outcome.kind })
    }
    // Before the image is that far, it may say that this broker leads what others lead by now.
    try {
      await image.reach(outcome.version)
    } catch (error) {
      await lease.revoke().catch(() => {})
      throw error
    }
    this.#lease = lease
    this.#epoch = outcome.version
    extended(lease.endsAtMs)
    registered(outcome.version)
  }

  async #settleFormerLife(): Promise<void> {
    const { brokerId, store, report } = this.#options
    const entry = await store.get(machineKey(brokerId))
    const isSame = entry === undefined || this.#isSound(readMachine(entry))
    const { entries } = await store.list(KEY.partitions) // as they are now: the image may be behind
    const partitions = entries.map(readPartition)
    const wrong = partitions.filter(
      ({ leader, isr }) => leader === brokerId || (!isSame && isr.length > 1 && isr.includes(brokerId)),
    )
    for (const { topicId, partition, replicas, isr } of partitions) {
      if (isSame || replicas.length === 1 || isr.length !== 1 || isr[0] !== brokerId) continue
      report(
        new MillraceError('UNCLEAN_ELECTION', { topicId, partition, leader: brokerId, reason: 'the only one in sync' }),
      )
    }
    for (let from = 0; from < wrong.length; from += BATCH) await this.#putRight(wrong.slice(from, from + BATCH), isSame)
  }

  /** Everything that was acknowledged under the last registration is still here. */
  #isSound({ bootId, directoryId, isClean }: Machine): boolean {
    const { machine } = this.#options
    return directoryId === machine.directoryId && (isClean || bootId === machine.bootId)
  }

  async #putRight(partitions: readonly ClusterPartition[], isSame: boolean): Promise<void> {
    const { brokerId, store, image } = this.#options
    const checks = partitions.map(({ topicId, partition, version }) => ({
      key: partitionKey(topicId, partition),
      version,
    }))
    const writes = partitions.map((partition, index) => {
      const { isr, leader, leaderEpoch } = partition
      const inSync = isSame || isr.length === 1 ? isr : isr.filter(id => id !== brokerId)
      const led = leader === brokerId ? { leader: NO_LEADER, leaderEpoch: leaderEpoch + 1 } : { leader, leaderEpoch }
      return {
        key: (checks[index] as { key: string }).key,
        value: partitionValue({ ...partition, isr: inSync, ...led }),
      }
    })
    const outcome = await store.commit(checks, writes)
    if (outcome.kind === 'done') await image.reach(outcome.version)
    else throw new MillraceError('METADATA_STORE_UNAVAILABLE', { reason: 'partitions change meanwhile' })
  }

  async #pause(ms = RETRY_MS): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {})
  }
}

/** Milliseconds that a lease goes on for its holder. */
export const remainingMs = (lease: Lease | undefined): number =>
  lease === undefined ? 0 : lease.endsAtMs - bootTimeMs()
