/** The clients that drive both brokers: Kafka's ProducerPerformance and ConsumerPerformance, and kcat. */
import { spawn, spawnSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { kafkaClassPath } from '../kafka/jars.ts'
import { run } from '../kafka/process.ts'

const CLIENT_JVM = ['-Xmx512m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error']
const TIMEOUT_MS = 300_000
/** Records at the beginning that are sent and not counted, while the client's virtual machine still compiles itself. */
const WARM_UP_SHARE = 0.4

export interface ProduceLoad {
  readonly topic: string
  readonly records: number
  readonly recordBytes: number
  readonly acks: '1' | 'all'
  /** Records/s that are aimed at; without it as many as possible. */
  readonly throughput?: number
}

export interface Produced {
  readonly recordsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const NUMBER = '([\\d.]+)'
const SUMMARY = new RegExp(`${NUMBER} records/sec.*?${NUMBER} ms 50th.*?${NUMBER} ms 95th.*?${NUMBER} ms 99th`)

async function javaTool(name: string, args: readonly string[]): Promise<string> {
  const program = [...CLIENT_JVM, '-cp', await kafkaClassPath(), `org.apache.kafka.tools.${name}`]
  const { code, stdout, output } = await run('java', [...program, ...args], { timeoutMs: TIMEOUT_MS })
  if (code !== 0) throw new Error(`${name} ended with ${code}\n${output.slice(-2_000)}`)
  return stdout
}

export async function produce(bootstrap: string, load: ProduceLoad): Promise<Produced> {
  const stdout = await javaTool('ProducerPerformance', [
    ...['--bootstrap-server', bootstrap, '--topic', load.topic, '--command-property', `acks=${load.acks}`],
    ...['--num-records', String(load.records), '--record-size', String(load.recordBytes)],
    ...['--throughput', String(load.throughput ?? -1), '--reporting-interval', '600000'],
    ...['--warmup-records', String(Math.ceil(load.records * WARM_UP_SHARE))],
  ])
  // The last line: the one before it counts the warm-up as well.
  const found = SUMMARY.exec(stdout.trim().split('\n').at(-1) ?? '')
  if (found === null) throw new Error(`ProducerPerformance said\n${stdout.slice(-2_000)}`)
  const [recordsPerSecond, p50Ms, , p99Ms] = found.slice(1).map(Number) as [number, number, number, number]
  return { recordsPerSecond, p50Ms, p99Ms }
}

/** @returns records/s, from the first fetch on */
export async function consume(bootstrap: string, topic: string, records: number): Promise<number> {
  const stdout = await javaTool('ConsumerPerformance', [
    ...['--bootstrap-server', bootstrap, '--topic', topic, '--num-records', String(records), '--hide-header'],
  ])
  const fields = stdout.trim().split('\n').at(-1)?.split(',').map(Number) ?? []
  const rate = fields.at(-1)
  if (rate === undefined || !(rate > 0)) throw new Error(`ConsumerPerformance said\n${stdout.slice(-2_000)}`)
  return rate
}

export const hasKcat = (): boolean => spawnSync('kcat', ['-V']).error === undefined

/** Lines of a file as records. @returns seconds */
export async function kcatProduce(bootstrap: string, topic: string, path: string): Promise<number> {
  return timed(['-b', bootstrap, '-P', '-t', topic, '-X', 'acks=all'], path)
}

/** A topic from its beginning to its end. @returns seconds */
export async function kcatConsume(bootstrap: string, topic: string): Promise<number> {
  return timed(['-b', bootstrap, '-C', '-t', topic, '-e', '-q'])
}

function timed(args: readonly string[], inputPath?: string): Promise<number> {
  const startMs = performance.now()
  const child = spawn('kcat', args, { stdio: ['pipe', 'ignore', 'pipe'], timeout: TIMEOUT_MS })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  if (inputPath === undefined) child.stdin.end()
  else createReadStream(inputPath).pipe(child.stdin)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', code => {
      if (code === 0) resolve((performance.now() - startMs) / 1_000)
      else reject(new Error(`kcat ended with ${code}: ${said}`))
    })
  })
}
