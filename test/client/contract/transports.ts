/** The transports that one contract holds over: the engine in this process, a Millrace that is served, and Apache Kafka. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KafkaNode } from '../../../bench/kafka/node.ts'
import { type Connection, connect } from '../../../client/index.ts'
import { testBroker } from '../../../client/testing.ts'

export interface Transport {
  readonly name: string
  /** Opens what is needed. @returns an address for `connect`, and how to end it */
  start(): Promise<{ readonly address: string; stop(): Promise<void> }>
}

/** Members find out about each other as quickly as Kafka allows. */
const HEARTBEAT_MS = 100

export const embedded: Transport = {
  name: 'embedded',
  async start() {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-contract-'))
    const stop = async (): Promise<void> => rmSync(directory, { recursive: true, force: true })
    return { address: directory, stop }
  },
}

export const served: Transport = {
  name: 'served',
  async start() {
    const broker = await testBroker({ engine: { groups: { consumerHeartbeatIntervalMs: HEARTBEAT_MS } } })
    return { address: `kafka://${broker.bootstrap}`, stop: () => broker.close() }
  },
}

export const kafka: Transport = {
  name: 'Apache Kafka',
  async start() {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-contract-'))
    const node = await KafkaNode.create(folder, {
      settings: {
        'offsets.topic.replication.factor': 1,
        'offsets.topic.num.partitions': 1,
        'transaction.state.log.replication.factor': 1,
        'transaction.state.log.min.isr': 1,
        'share.coordinator.state.topic.replication.factor': 1,
        'auto.create.topics.enable': false,
        'group.consumer.min.heartbeat.interval.ms': HEARTBEAT_MS,
        'group.consumer.heartbeat.interval.ms': HEARTBEAT_MS,
      },
    })
    await node.start()
    const stop = async (): Promise<void> => {
      await node.kill()
      rmSync(folder, { recursive: true, force: true })
    }
    return { address: `kafka://${node.bootstrap}`, stop }
  },
}

/** Opens a transport and a connection over it. */
export async function open(transport: Transport): Promise<{ connection: Connection; stop(): Promise<void> }> {
  const { address, stop } = await transport.start()
  try {
    const connection = await connect(address, { engine: { writers: 1, jobThreads: 1 } })
    return {
      connection,
      async stop() {
        await connection.close()
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}
