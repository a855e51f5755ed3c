/** Brokers as processes, over LMDB or an etcd of the test's own. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BrokerProcesses, type BrokerProcessesOptions } from '../../../bench/cluster/broker-processes.ts'
import { Etcd } from '../../engine/cluster/etcd.ts'
import type { Network } from './network.ts'

export interface TestClusterOptions extends Omit<BrokerProcessesOptions, 'store' | 'place'> {
  readonly store?: 'lmdb' | 'etcd'
  /** Each broker is host of its number there, and etcd host ETCD_HOST. */
  readonly network?: Network
}

export const ETCD_HOST = 100

export class TestCluster extends BrokerProcesses {
  readonly etcd: Etcd | undefined
  readonly #closeListeners: (() => void)[] = []

  private constructor(directory: string, options: BrokerProcessesOptions, etcd: Etcd | undefined) {
    super(directory, options)
    this.etcd = etcd
  }

  static override async start({ store, network, ...options }: TestClusterOptions = {}): Promise<TestCluster> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))
    for (const host of [ETCD_HOST, ...Array.from({ length: options.brokers ?? 3 }, (_, index) => index + 1)])
      network?.add(host)
    const placeOf = (host: number) =>
      network && { host: network.addressOf(host), prefix: ['ip', 'netns', 'exec', network.nameOf(host)] }
    const there = placeOf(ETCD_HOST)
    const etcd =
      store === 'etcd'
        ? await Etcd.start(join(directory, 'etcd'), there && { address: there.host, prefix: there.prefix })
        : undefined
    const place = network === undefined ? {} : { place: (id: number) => placeOf(id) as NonNullable<typeof there> }
    const where = etcd === undefined ? {} : { store: `etcd://${etcd.host}` }
    const cluster = new TestCluster(directory, { ...options, ...place, ...where }, etcd)
    await cluster.begin(options.brokers ?? 3)
    return cluster
  }

  /** @param listener called before the brokers end */
  onClose(listener: () => void): void {
    this.#closeListeners.push(listener)
  }

  override async close(): Promise<void> {
    for (const listener of this.#closeListeners) listener()
    await super.close()
    await this.etcd?.stop()
  }
}
