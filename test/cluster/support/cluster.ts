/** Brokers as processes, over LMDB or an etcd of the test's own. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BrokerProcesses, type BrokerProcessesOptions } from '../../../bench/cluster/broker-processes.ts'
import { Etcd } from '../../engine/cluster/etcd.ts'

export interface TestClusterOptions extends Omit<BrokerProcessesOptions, 'store'> {
  readonly store?: 'lmdb' | 'etcd'
}

export class TestCluster extends BrokerProcesses {
  readonly etcd: Etcd | undefined

  private constructor(directory: string, options: BrokerProcessesOptions, etcd: Etcd | undefined) {
    super(directory, options)
    this.etcd = etcd
  }

  static override async start({ store, ...options }: TestClusterOptions = {}): Promise<TestCluster> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))
    const etcd = store === 'etcd' ? await Etcd.start(join(directory, 'etcd')) : undefined
    const cluster = new TestCluster(
      directory,
      etcd === undefined ? options : { ...options, store: `etcd://${etcd.host}` },
      etcd,
    )
    await cluster.begin(options.brokers ?? 3)
    return cluster
  }

  override async close(): Promise<void> {
    await super.close()
    await this.etcd?.stop()
  }
}
