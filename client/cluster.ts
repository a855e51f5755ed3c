/**
 * A cluster within one process: some engines, each with a directory and a Kafka listener of its own, that replicate to one another through shared memory. For
 * tests, for a service that wants its data on several disks, and to see how a cluster behaves.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../engine/base/errors.ts'
import { whole } from '../engine/broker/options.ts'
import type { KafkaServer } from '../engine/kafka/server/server.ts'
import type { ClusterListenOptions } from './cluster-listener.ts'

const MEET_MS = 10_000
/** Longer than between processes: whatever holds the event loop up holds all brokers up at once. */
const LEASE_MS = 10_000

export interface ClusterEngineOptions extends Omit<ClusterListenOptions, 'store' | 'peers'> {
  /** Directory of the cluster: `broker-1`, `broker-2`, … and `cluster`, the metadata store, are made in it. */
  readonly dir: string
  /** How many, 1 to 16. Default 3. */
  readonly brokers?: number
  /** Metadata store, default `lmdb:<dir>`. */
  readonly store?: string
  /** Where the listeners are; ports are free ones. Default 127.0.0.1. */
  readonly host?: string
}

interface Engine {
  listen(options: object): Promise<KafkaServer>
  close(): Promise<void>
}

export class MillraceCluster<E extends Engine> {
  readonly #engines = new Map<number, { readonly engine: E; readonly server: KafkaServer }>()
  readonly #peers = new Map<number, KafkaServer>()
  readonly #options: ClusterEngineOptions
  readonly #make: (directory: string) => Promise<E>

  private constructor(options: ClusterEngineOptions, make: (directory: string) => Promise<E>) {
    this.#options = options
    this.#make = make
  }

  /** @internal For `Millrace.cluster`. */
  static async open<E extends Engine>(
    options: ClusterEngineOptions,
    make: (directory: string) => Promise<E>,
  ): Promise<MillraceCluster<E>> {
    const count = whole('brokers', options.brokers ?? 3, 1, 16)
    const cluster = new MillraceCluster(options, make)
    try {
      await Promise.all(Array.from({ length: count }, (_, index) => cluster.start(index + 1)))
      await cluster.#meet(count)
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  /** Resolves when each of them knows the others. */
  async #meet(count: number): Promise<void> {
    const deadline = performance.now() + MEET_MS
    for (const { server } of this.#engines.values()) {
      while (server.cluster.brokerIds.length < count) {
        if (performance.now() > deadline) throw new MillraceError('TIMED_OUT', { brokers: count, timeoutMs: MEET_MS })
        await sleep(5)
      }
    }
  }

  /** Ids of the brokers that run. */
  get brokerIds(): readonly number[] {
    return [...this.#engines.keys()]
  }

  /** A broker's engine. @throws INVALID_ARGUMENT when it does not run */
  broker(brokerId: number): E {
    return this.#of(brokerId).engine
  }

  /** Addresses of all brokers that run, for any Kafka client, and as `kafka://…` for `connect`. */
  get bootstrap(): string {
    return [...this.#engines.values()]
      .flatMap(({ server }) => server.addresses.map(({ host, port }) => `${host}:${port}`))
      .join(',')
  }

  /** The broker that leads a partition, whose engine takes its records; undefined while none does. */
  leaderOf(topic: string, partition: number): number | undefined {
    const [first] = this.#engines.values()
    const leader = first?.server.cluster.leaderOf(topic, partition) ?? -1
    return this.#engines.has(leader) ? leader : undefined
  }

  /** Starts a broker that was stopped, or a new one, under an id. @throws INVALID_ARGUMENT when it runs, and what `listen` throws */
  async start(brokerId: number): Promise<void> {
    if (this.#engines.has(brokerId))
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'brokerId', value: brokerId })
    const { dir, host = '127.0.0.1', store = `lmdb:${dir}`, brokers: _, ...rest } = this.#options
    const engine = await this.#make(join(dir, `broker-${brokerId}`))
    try {
      const cluster = { leaseMs: LEASE_MS, ...rest, store, peers: this.#peers }
      const server = await engine.listen({ host, port: 0, nodeId: brokerId, cluster })
      this.#engines.set(brokerId, { engine, server })
    } catch (error) {
      await engine.close()
      throw error
    }
  }

  /** Stops a broker in order: others lead what it led. @throws INVALID_ARGUMENT when it does not run */
  async stop(brokerId: number): Promise<void> {
    const { engine } = this.#of(brokerId)
    this.#engines.delete(brokerId)
    this.#peers.delete(brokerId)
    await engine.close()
  }

  /** Stops all of them. */
  async close(): Promise<void> {
    await Promise.all(this.brokerIds.map(brokerId => this.stop(brokerId)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #of(brokerId: number): { readonly engine: E; readonly server: KafkaServer } {
    const found = this.#engines.get(brokerId)
    if (found === undefined) throw new MillraceError('INVALID_ARGUMENT', { argument: 'brokerId', value: brokerId })
    return found
  }
}
