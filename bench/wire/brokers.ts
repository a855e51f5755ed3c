/**
 * The two brokers that are measured, each as a process of its own: Apache Kafka with the settings and the virtual machine that its
 * own start script gives it, and `millrace serve` as it is installed. Linux.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KafkaNode } from '../kafka/node.ts'

export interface WireBroker {
  readonly name: string
  readonly bootstrap: string
  readonly pid: number
  /** @returns milliseconds from starting the process to the first request that was answered */
  start(): Promise<number>
  stop(): Promise<void>
}

/** `config/server.properties` of the distribution; what is not there has Kafka's own default. */
const KAFKA_SETTINGS = {
  'num.network.threads': 3,
  'num.io.threads': 8,
  'socket.send.buffer.bytes': 102_400,
  'socket.receive.buffer.bytes': 102_400,
  'socket.request.max.bytes': 104_857_600,
  'num.partitions': 1,
  'offsets.topic.replication.factor': 1,
  'share.coordinator.state.topic.replication.factor': 1,
  'share.coordinator.state.topic.min.isr': 1,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
}

/** What `kafka-server-start.sh` and `kafka-run-class.sh` pass. */
const KAFKA_JVM = [
  '-Xmx1G',
  '-Xms1G',
  '-server',
  '-XX:+UseG1GC',
  '-XX:MaxGCPauseMillis=20',
  '-XX:InitiatingHeapOccupancyPercent=35',
  '-XX:+ExplicitGCInvokesConcurrent',
  '-Djava.awt.headless=true',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
]

/** As `npm run build` makes it. */
const MAIN = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist/client/cli/main.js')
const LOOK_MS = 5
const START_MS_MAX = 60_000

export async function apacheKafka(directory: string): Promise<WireBroker> {
  const node = await KafkaNode.create(join(directory, 'kafka'), { settings: KAFKA_SETTINGS, jvm: KAFKA_JVM })
  return {
    name: 'Apache Kafka',
    get bootstrap() {
      return node.bootstrap
    },
    get pid() {
      return node.pid
    },
    async start() {
      const startMs = performance.now()
      const [answeredMs] = await Promise.all([firstAnswer(node.bootstrap), node.start()])
      return answeredMs - startMs
    },
    stop: () => node.stop(),
  }
}

export class MillraceBroker implements WireBroker {
  readonly name = 'Millrace'
  readonly bootstrap: string
  readonly #directory: string
  #child: ChildProcess | undefined

  constructor(directory: string, port: number) {
    this.#directory = join(directory, 'millrace')
    this.bootstrap = `127.0.0.1:${port}`
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  async start(): Promise<number> {
    const startMs = performance.now()
    const child = spawn(process.execPath, [MAIN, '--dir', this.#directory, 'serve', '-l', this.bootstrap], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject)
      child.once('exit', code => reject(new Error(`millrace serve ended with ${code}: ${said}`)))
    })
    failed.catch(() => undefined)
    return (await Promise.race([firstAnswer(this.bootstrap), failed])) - startMs
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null) return
    await new Promise<void>(resolve => {
      child.once('exit', () => resolve())
      child.kill('SIGTERM')
    })
  }
}

/** ApiVersions in version 0, without a client id. */
const REQUEST = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])

/** When an address answered its first request. @throws after a minute */
async function firstAnswer(bootstrap: string): Promise<number> {
  const [host, port] = bootstrap.split(':') as [string, string]
  for (const endMs = performance.now() + START_MS_MAX; performance.now() < endMs; ) {
    if (await isAnswered(host, Number(port))) return performance.now()
    await new Promise(resolve => setTimeout(resolve, LOOK_MS))
  }
  throw new Error(`${bootstrap} answers nothing in ${START_MS_MAX} ms`)
}

function isAnswered(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port }, () => socket.write(REQUEST))
    const done = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    socket.once('data', () => done(true))
    socket.once('error', () => done(false))
    socket.once('close', () => done(false))
  })
}
