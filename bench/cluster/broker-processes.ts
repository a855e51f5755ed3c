/**
 * Brokers of one cluster, each a process of its own (`millrace serve --cluster`) on a loopback port that it keeps, in a temporary directory. Started,
 * stopped, frozen and killed by process id.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from '@platformatic/kafka'

const MAIN = join(import.meta.dirname, '../../client/cli/main.ts')
const START_MS = 60_000

export interface Address {
  readonly host: string
  readonly port: number
}

export interface BrokerProcessesOptions {
  readonly brokers?: number
  /** Where their directories are made; default a temporary one. Removed with the cluster. */
  readonly directory?: string
  /** Metadata store; default LMDB in the directory. */
  readonly store?: string
  /** Where a broker runs, if not on a free port of the loopback address: its host, and what stands in front of its command. */
  readonly place?: (id: number) => { readonly host: string; readonly prefix: readonly string[] }
  /** What stands in front of a broker: others, and clients, are told that it is there. */
  readonly front?: (id: number, address: Address) => Promise<Address>
  /** Asked at each start, and afterwards: a broker's directory; undefined: in that of the cluster. */
  readonly dataOf?: (id: number) => string | undefined
  /** Of a broker's first start, beside the environment of this process. */
  readonly environment?: (id: number) => Record<string, string>
  readonly leaseMs?: number
  readonly replicaLagMs?: number
}

export interface PartitionState {
  readonly leader: number
  readonly leaderEpoch: number
  readonly isr: readonly number[]
  readonly replicas: readonly number[]
}

export class BrokerProcesses {
  readonly directory: string
  readonly store: string
  readonly #options: Required<Pick<BrokerProcessesOptions, 'leaseMs' | 'replicaLagMs'>>
  readonly #environment: NonNullable<BrokerProcessesOptions['environment']>
  readonly #place: NonNullable<BrokerProcessesOptions['place']>
  readonly #front: BrokerProcessesOptions['front']
  readonly #dataOf: (id: number) => string
  readonly #listens = new Map<number, Address>()
  /** Where they are reached. */
  readonly #reached = new Map<number, Address>()
  readonly #processes = new Map<number, ChildProcess>()
  readonly output: string[] = []

  protected constructor(directory: string, options: BrokerProcessesOptions) {
    this.directory = directory
    this.store = options.store ?? `lmdb:${join(directory, 'metadata')}`
    this.#environment = options.environment ?? (() => ({}))
    this.#place = options.place ?? (() => ({ host: '127.0.0.1', prefix: [] }))
    this.#front = options.front
    const usual = (id: number): string => join(directory, `broker-${id}`)
    this.#dataOf = id => options.dataOf?.(id) ?? usual(id)
    this.#options = { leaseMs: options.leaseMs ?? 2_000, replicaLagMs: options.replicaLagMs ?? 10_000 }
  }

  static async start(options: BrokerProcessesOptions = {}): Promise<BrokerProcesses> {
    const cluster = new BrokerProcesses(options.directory ?? mkdtempSync(join(tmpdir(), 'millrace-cluster-')), options)
    await cluster.begin(options.brokers ?? 3)
    return cluster
  }

  /** Starts the first brokers. */
  protected async begin(brokers: number): Promise<void> {
    const ids = Array.from({ length: brokers }, (_, index) => index + 1)
    for (const id of ids) {
      const address = { host: this.#place(id).host, port: await freePort() }
      this.#listens.set(id, address)
      this.#reached.set(id, (await this.#front?.(id, address)) ?? address)
    }
    await Promise.all(ids.map(id => this.startBroker(id, this.#environment(id))))
  }

  get brokerIds(): number[] {
    return [...this.#listens.keys()]
  }

  get bootstrap(): string[] {
    return this.addresses.map(({ host, port }) => `${host}:${port}`)
  }

  get addresses(): (Address & { readonly brokerId: number })[] {
    return [...this.#reached].map(([brokerId, address]) => ({ brokerId, ...address }))
  }

  dataOf(id: number): string {
    return this.#dataOf(id)
  }

  /** Resolves when the broker serves and is registered. */
  async startBroker(id: number, environment: Record<string, string> = {}): Promise<void> {
    const { leaseMs, replicaLagMs } = this.#options
    const options = ['--lease', String(leaseMs), '--replica-lag', String(replicaLagMs), '--writers', '1', '--json']
    const { prefix } = this.#place(id)
    const addresses = ['--listen', wordOf(this.#listens.get(id)), '--advertise', wordOf(this.#reached.get(id))]
    const place = ['--cluster', this.store, '--id', String(id), ...addresses]
    const args = [MAIN, '--dir', this.dataOf(id), 'serve', ...place, ...options]
    const env = { ...process.env, ...environment }
    const [file, ...words] = [...prefix, process.execPath, ...args] as [string, ...string[]]
    const child = spawn(file, words, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#processes.set(id, child)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    child.stdout.once('data', () => resolve())
    child.stderr.on('data', text => this.output.push(`${id}: ${String(text).trimEnd()}`))
    child.once('exit', code =>
      reject(new Error(`broker ${id} ended with ${code}\n${this.output.slice(-10).join('\n')}`)),
    )
    const timer = setTimeout(() => reject(new Error(`broker ${id} does not start`)), START_MS)
    try {
      await promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends a signal; with one that ends a process, resolves when it has ended. */
  async signal(id: number, signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const child = this.#processes.get(id) as ChildProcess
    const isOver = child.exitCode !== null || child.signalCode !== null
    const isEnd = (signal === 'SIGKILL' || signal === 'SIGTERM') && !isOver
    const ended = isEnd ? new Promise(resolve => child.once('exit', resolve)) : undefined
    child.kill(signal)
    await ended
    if (isEnd || isOver) this.#processes.delete(id)
  }

  async withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = new Admin({
      clientId: 'test',
      bootstrapBrokers: this.bootstrap,
      timeout: 5_000,
      retries: 20,
      retryDelay: 100,
    })
    try {
      return await work(admin)
    } finally {
      await admin.close()
    }
  }

  async createTopic(
    topic: string,
    partitions: number,
    replicas: number,
    config: Record<string, string> = {},
  ): Promise<void> {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value }))
    await this.withAdmin(admin => admin.createTopics({ topics: [topic], partitions, replicas, configs }))
  }

  async partitions(topic: string): Promise<PartitionState[]> {
    return await this.withAdmin(async admin => {
      const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
      const found = metadata.topics.get(topic)
      return (found?.partitions ?? []).map(one => ({
        leader: one.leader,
        leaderEpoch: one.leaderEpoch,
        isr: [...one.isr].sort(),
        replicas: [...one.replicas].sort(),
      }))
    })
  }

  /** Resolves when the partitions of a topic are as wanted. */
  async until(topic: string, isSo: (partitions: PartitionState[]) => boolean, timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    let last: PartitionState[] = []
    while (performance.now() < deadline) {
      last = await this.partitions(topic).catch(() => [])
      if (last.length > 0 && isSo(last)) return
      await sleep(50)
    }
    throw new Error(`${topic} did not become so: ${JSON.stringify(last)}\n${this.output.slice(-20).join('\n')}`)
  }

  /** All replicas are in sync, and led. */
  async healthy(topic: string): Promise<void> {
    await this.until(topic, all =>
      all.every(({ leader, isr, replicas }) => leader > 0 && isr.length === replicas.length),
    )
  }

  /** Ends the brokers in order; what they have stays. */
  async stopBrokers(): Promise<void> {
    await Promise.all([...this.#processes.keys()].map(id => this.signal(id, 'SIGTERM')))
  }

  async close(): Promise<void> {
    for (const child of this.#processes.values()) child.kill('SIGCONT')
    await Promise.all([...this.#processes.keys()].map(id => this.signal(id, 'SIGKILL')))
    rmSync(this.directory, { recursive: true, force: true })
  }
}

const wordOf = (address: Address | undefined): string => `${address?.host}:${address?.port}`

/** A port of the loopback address that is free just now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
