/**
 * One Apache Kafka node (broker and controller in one process) in a folder of its own, on free loopback ports. It may be stopped and
 * started again over the same folder; its partitions lie in `logs`.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { kafkaClassPath } from './jars.ts'
import { JVM, java } from './java.ts'
import { start } from './process.ts'

const START_TIMEOUT_MS = 180_000
const STOP_TIMEOUT_MS = 60_000

export interface KafkaNodeOptions {
  /** Instead of those that make it small and quick. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** Of its virtual machine. */
  readonly jvm?: readonly string[]
  /** What clients are told, when something stands in between. */
  readonly advertisedPort?: number
}

const ROLES = {
  'process.roles': 'broker,controller',
  'node.id': 1,
  'controller.listener.names': 'CONTROLLER',
  'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
}

/** Small and quick: one of everything, no waiting for others. */
const SMALL = {
  'offsets.topic.replication.factor': 1,
  'offsets.topic.num.partitions': 1,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
  'transaction.state.log.num.partitions': 1,
  'share.coordinator.state.topic.replication.factor': 1,
  'group.initial.rebalance.delay.ms': 0,
  'auto.create.topics.enable': false,
  'num.network.threads': 1,
  'num.io.threads': 2,
  'log.cleaner.backoff.ms': 100,
  'log.cleaner.dedupe.buffer.size': 2_097_152,
  'log.initial.task.delay.ms': 0,
  'log.retention.check.interval.ms': 600_000,
  'group.coordinator.threads': 1,
}

export class KafkaNode {
  readonly bootstrap: string
  readonly #directory: string
  readonly #jvm: readonly string[]
  #process: ChildProcess | undefined
  #ended: Promise<void> | undefined
  #log = ''

  private constructor(directory: string, port: number, jvm: readonly string[]) {
    this.#directory = directory
    this.#jvm = jvm
    this.bootstrap = `127.0.0.1:${port}`
  }

  /** Formats a new node. It is not started yet. */
  static async create(directory: string, options: KafkaNodeOptions = {}): Promise<KafkaNode> {
    const [port, controllerPort] = await freePorts(2)
    const node = new KafkaNode(directory, port as number, options.jvm ?? JVM)
    mkdirSync(directory, { recursive: true })
    const settings = {
      ...ROLES,
      ...(options.settings ?? SMALL),
      listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${options.advertisedPort ?? port}`,
      'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
      'log.dirs': node.logs,
    }
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`)
    writeFileSync(node.#config, lines.join(''))
    const clusterId = randomBytes(16).toString('base64url')
    const { code, output } = await java('kafka.tools.StorageTool', ['format', '-t', clusterId, '-c', node.#config])
    if (code !== 0) throw new Error(`StorageTool ended with ${code}\n${output.slice(-4_000)}`)
    return node
  }

  /** Of its process, while it runs. */
  get pid(): number {
    return this.#process?.pid ?? -1
  }

  get logs(): string {
    return join(this.#directory, 'logs')
  }

  get #config(): string {
    return join(this.#directory, 'server.properties')
  }

  folder(topic: string, partition = 0): string {
    return join(this.logs, `${topic}-${partition}`)
  }

  /** Warnings and errors of its log since it was started last. */
  get log(): string {
    return this.#log
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const info = '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info'
    const child = start('java', [...this.#jvm, info, '-cp', await kafkaClassPath(), 'kafka.Kafka', this.#config])
    this.#process = child
    this.#log = ''
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => reject(this.#failure(`did not start in ${START_TIMEOUT_MS} ms`)), START_TIMEOUT_MS)
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream as NodeJS.ReadableStream }).on('line', line => {
        if (/Kafka Server started/.test(line)) resolve()
        if (!/ INFO /.test(line)) this.#log += `${line}\n`
      })
    }
    this.#ended = new Promise(ended => child.once('close', () => ended()))
    child.once('error', reject)
    void this.#ended.then(() => reject(this.#failure('ended')))
    try {
      await promise
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Stops it as an operator does, so that it closes its logs. May be called when it does not run. */
  async stop(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#ended
    clearTimeout(timer)
    if (!existsSync(join(this.logs, '.kafka_cleanshutdown'))) throw this.#failure('did not stop cleanly')
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    this.#process = undefined
    await this.#ended
  }

  #failure(what: string): Error {
    return new Error(`the Kafka node ${what}\n${this.#log.slice(-6_000)}`)
  }
}

/** Ports that were free a moment ago, all at once so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(server => {
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
      return promise
    }),
  )
  await Promise.all(servers.map(server => new Promise(closed => server.close(closed))))
  return ports
}
