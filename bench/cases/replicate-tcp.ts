/**
 * Replication between processes: what three brokers, each a process of its own on a loopback port, store of what a client sends over sixteen
 * connections to the leader, acknowledged by all of them (acks=all). Beside it three copies of the same bytes into prefaulted mappings, which is what
 * replication within a process is held against: the loopback device, whose bytes are copied in and out for each of three hops, and new pages of files are the
 * value's. Main thread: it sends batches that are encoded already.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type EncodedBatch, encodeBatch } from '../../engine/format/record-batch.ts'
import { readResponse, writeRequest } from '../../engine/kafka/codec/frames.ts'
import { produce } from '../../engine/kafka/messages/produce.ts'
import { PeerConnection } from '../../engine/kafka/peer-connection.ts'
import { BrokerProcesses } from '../cluster/broker-processes.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { copyLimit } from '../limits/copy.ts'
import { encodedBatches } from './encoded-batches.ts'

const REPLICAS = 3
const CONNECTIONS = 16
const BATCH_BYTES = 64 * 1024
const BATCHES = 16
const ROUND_BYTES = 128 * 1024 * 1024
const SEGMENT_BYTES = 256 * 1024 * 1024
const PRODUCE_VERSION = 9
const ALL = -1
const TIMEOUT_MS = 30_000

/** Batches of one size, and how many a round sends. */
interface Load {
  readonly batches: readonly EncodedBatch[]
  readonly count: number
  readonly bytes: number
}

function loadOf(valueBytes: number): Load {
  const batches = encodedBatches(BATCHES, Math.floor(BATCH_BYTES / valueBytes), valueBytes)
  const batchBytes = (batches[0] as EncodedBatch).bytes.length
  const count = Math.floor(ROUND_BYTES / batchBytes)
  return { batches, count, bytes: count * batchBytes }
}

/** The leader of the only partition of topics that a round has to itself. */
class Leader {
  readonly #cluster: BrokerProcesses
  readonly #connections: PeerConnection[]
  readonly topic: string

  private constructor(cluster: BrokerProcesses, topic: string, connections: PeerConnection[]) {
    this.#cluster = cluster
    this.topic = topic
    this.#connections = connections
  }

  static async of(cluster: BrokerProcesses, topic: string): Promise<Leader> {
    await cluster.createTopic(topic, 1, REPLICAS, {
      'min.insync.replicas': '3',
      'segment.bytes': String(SEGMENT_BYTES),
    })
    await cluster.healthy(topic)
    const [partition] = await cluster.partitions(topic)
    const leader = partition?.leader as number
    const [host, port] = (cluster.bootstrap[leader - 1] as string).split(':') as [string, string]
    const connections = Array.from(
      { length: CONNECTIONS },
      () => new PeerConnection({ brokerId: leader, host, port: Number(port) }),
    )
    await Promise.all(connections.map(({ opened }) => opened))
    const found = new Leader(cluster, topic, connections)
    await found.#takes(encodeBatch([{ timestamp: 0, value: new Uint8Array(1) }]))
    return found
  }

  /** Resolves when it has made the partition, and leads it. */
  async #takes(batch: EncodedBatch): Promise<void> {
    const deadline = performance.now() + TIMEOUT_MS
    for (;;) {
      const code = await this.#produce(this.#connections[0] as PeerConnection, batch)
      if (code === 0) return
      if (performance.now() > deadline) throw new Error(`${this.topic} takes no batch: ${code}`)
      await sleep(20)
    }
  }

  /** Milliseconds until the last is acknowledged. */
  async send({ batches, count }: Load): Promise<number> {
    let next = 0
    const start = performance.now()
    await Promise.all(
      this.#connections.map(async connection => {
        while (next < count) {
          const code = await this.#produce(connection, batches[next++ % BATCHES] as EncodedBatch)
          if (code !== 0) throw new Error(`a produced batch was answered with ${code}`)
        }
      }),
    )
    return performance.now() - start
  }

  /** Code of the error, 0 for none. */
  async #produce(connection: PeerConnection, { bytes }: EncodedBatch): Promise<number | undefined> {
    const topicData = [{ name: this.topic, partitionData: [{ index: 0, records: bytes }] }]
    const { body } = await connection.ask(
      id => writeRequest(produce, PRODUCE_VERSION, id, 'bench', { acks: ALL, timeoutMs: TIMEOUT_MS, topicData }),
      frame => readResponse(produce, PRODUCE_VERSION, frame),
      TIMEOUT_MS,
    )
    return body.responses[0]?.partitionResponses[0]?.errorCode
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.end(new Error('the round is over'))
    await this.#cluster.withAdmin(admin => admin.deleteTopics({ topics: [this.topic] }))
  }
}

async function tcpSide(context: BenchContext, load: Load): Promise<Side> {
  const cluster = await BrokerProcesses.start({ directory: context.freshDirectory('replicate-tcp') })
  context.defer(() => cluster.close())
  let leader: Leader | undefined
  let topics = 0
  return {
    work: load.bytes,
    async prepare() {
      await leader?.close()
      leader = await Leader.of(cluster, `t${topics++}`)
      await leader.send({ ...load, count: Math.ceil(load.count / 8) })
    },
    async round() {
      return await (leader as Leader).send(load)
    },
  }
}

const caseOf = (name: string, valueBytes: number): BenchCase => ({
  name: `replicate/tcp-${name}`,
  unit: 'bytes/s',
  limitName: 'three copies',
  async run(context) {
    const load = loadOf(valueBytes)
    const copies = copyLimit(context.scratch, BATCH_BYTES, REPLICAS * ROUND_BYTES)
    return await context.compareRates(await tcpSide(context, load), { ...copies, work: copies.work / REPLICAS })
  },
})

export const replicateTcpCases: BenchCase[] = [caseOf('100B', 100), caseOf('1KiB', 1024)]
