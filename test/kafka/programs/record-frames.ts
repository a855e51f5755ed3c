/**
 * Records what real clients say to a real Apache Kafka and what it answers, for `test/engine/kafka/codec/golden.test.ts`. Run by hand when
 * clients or Kafka have changed: `node test/kafka/programs/record-frames.ts`. Needs a JDK, Maven and kcat.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  Admin as PlatformaticAdmin,
  Consumer as PlatformaticConsumer,
  Producer as PlatformaticProducer,
} from '@platformatic/kafka'
import { Kafka, logLevel } from 'kafkajs'
import { java } from '../../../bench/kafka/java.ts'
import { KafkaNode } from '../../../bench/kafka/node.ts'
import { kcat } from '../clients/support/kcat.ts'
import { Recorder } from '../support/recorder.ts'

const GOLDEN = fileURLToPath(new URL('../../engine/kafka/codec/golden.json', import.meta.url))
const TOOLS = 'org.apache.kafka.tools'

async function withKafkajs(bootstrap: string): Promise<void> {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'kafkajs', numPartitions: 2 }] })
  await admin.createPartitions({ topicPartitions: [{ topic: 'kafkajs', count: 3 }] })
  await admin.fetchTopicMetadata({ topics: ['kafkajs'] })
  await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: 'kafkajs' }] })
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type: 2, name: 'kafkajs', configEntries: [{ name: 'retention.ms', value: '1000000' }] }],
  })
  for (const idempotent of [false, true]) {
    const producer = kafka.producer({ idempotent })
    await producer.connect()
    await producer.send({ topic: 'kafkajs', messages: [{ key: 'k', value: 'v', headers: { h: 'x' } }] })
    await producer.disconnect()
  }
  const consumer = kafka.consumer({ groupId: 'kafkajs', maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topics: ['kafkajs'], fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    consumer.run({ eachMessage: async () => resolve() }).catch(reject)
  })
  await consumer.commitOffsets([{ topic: 'kafkajs', partition: 0, offset: '1' }])
  await consumer.disconnect()
  await admin.fetchOffsets({ groupId: 'kafkajs', topics: ['kafkajs'] })
  await admin.fetchTopicOffsetsByTimestamp('kafkajs', 1)
  await admin.listGroups()
  await admin.describeGroups(['kafkajs'])
  await admin.deleteGroups(['kafkajs'])
  await admin.describeCluster()
  await admin.deleteTopicRecords({ topic: 'kafkajs', partitions: [{ partition: 0, offset: '0' }] })
  await admin.deleteTopics({ topics: ['kafkajs'] })
  await admin.disconnect()
}

async function withPlatformatic(bootstrap: string): Promise<void> {
  const options = { clientId: 'platformatic', bootstrapBrokers: [bootstrap] }
  const admin = new PlatformaticAdmin(options)
  await admin.createTopics({ topics: ['platformatic'], partitions: 1, replicas: 1 })
  const producer = new PlatformaticProducer(options)
  const value = Buffer.from('v')
  await producer.send({ messages: [{ topic: 'platformatic', key: Buffer.from('k'), value }], acks: -1 })
  await producer.close()
  const consumer = new PlatformaticConsumer({ ...options, groupId: 'platformatic', maxWaitTime: 100 })
  const stream = await consumer.consume({ topics: ['platformatic'], mode: 'earliest', autocommit: false })
  for await (const message of stream) {
    await message.commit()
    break
  }
  await stream.close()
  await consumer.close(true)
  await admin.listGroups()
  await admin.describeGroups({ groups: ['platformatic'] })
  await admin.deleteTopics({ topics: ['platformatic'] })
  await admin.close()
}

async function withKcat(bootstrap: string): Promise<void> {
  await kcat(bootstrap, ['-L'])
  await kcat(bootstrap, ['-P', '-t', 'tools', '-z', 'lz4', '-X', 'enable.idempotence=true'], 'a\nb\n')
  await kcat(bootstrap, ['-C', '-t', 'tools', '-e', '-q'])
  await kcat(bootstrap, ['-Q', '-t', 'tools:0:1'])
  await kcat(bootstrap, ['-G', 'kcat', 'tools', '-e', '-q', '-X', 'auto.offset.reset=earliest'])
}

async function withJava(bootstrap: string): Promise<void> {
  const tool = async (name: string, ...args: readonly string[]): Promise<void> => {
    const { code, output } = await java(`${TOOLS}.${name}`, ['--bootstrap-server', bootstrap, ...args])
    if (code !== 0) throw new Error(`${name}: ${output}`)
  }
  const groups = 'consumer.group.ConsumerGroupCommand'
  await tool('TopicCommand', '--create', '--topic', 'java', '--partitions', '2')
  await tool('TopicCommand', '--describe', '--topic', 'java')
  await tool('TopicCommand', '--alter', '--topic', 'java', '--partitions', '3')
  const load = ['--num-records', '20', '--record-size', '10', '--throughput', '-1']
  await tool('ProducerPerformance', '--topic', 'java', ...load, '--command-property', 'compression.type=zstd')
  for (const protocol of ['classic', 'consumer']) {
    const properties = ['--command-property', `group.protocol=${protocol}`]
    await tool('ConsumerPerformance', '--topic', 'java', '--num-records', '20', '--group', protocol, ...properties)
    await tool(groups, '--describe', '--group', protocol)
  }
  await tool(groups, '--list')
  await tool(groups, '--reset-offsets', '--to-earliest', '--all-topics', '--execute', '--group', 'classic')
  await tool(groups, '--delete-offsets', '--topic', 'java', '--group', 'consumer')
  await tool(groups, '--delete', '--group', 'classic')
  await tool('GetOffsetShell', '--topic', 'java', '--time', '-3')
  await tool('TransactionsCommand', 'describe-producers', '--topic', 'java', '--partition', '0')
  await config(bootstrap)
  await tool('LogDirsCommand', '--describe', '--topic-list', 'java')
  await tool('TopicCommand', '--delete', '--topic', 'java')
}

async function config(bootstrap: string): Promise<void> {
  const entity = ['--bootstrap-server', bootstrap, '--entity-type', 'topics', '--entity-name', 'java']
  for (const change of [['--alter', '--add-config', 'retention.ms=1000000'], ['--describe']]) {
    const { code, output } = await java(`${TOOLS}.ConfigCommand`, [...entity, ...change])
    if (code !== 0) throw new Error(output)
  }
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-record-'))
let port = 0
const recorder = await Recorder.open(() => port)
const node = await KafkaNode.create(join(folder, 'node'), { advertisedPort: recorder.port })
port = Number(node.bootstrap.split(':')[1])
await node.start()
try {
  const bootstrap = `127.0.0.1:${recorder.port}`
  const clients = { kafkajs: withKafkajs, platformatic: withPlatformatic, java: withJava, kcat: withKcat }
  recorder.client = 'java'
  await java(`${TOOLS}.TopicCommand`, ['--bootstrap-server', bootstrap, '--create', '--topic', 'tools'])
  for (const [name, run] of Object.entries(clients)) {
    recorder.client = name
    await run(bootstrap)
    console.log(name, recorder.exchanges.filter(({ client }) => client === name).length)
  }
  const lines = recorder.exchanges.map(exchange => JSON.stringify(exchange))
  writeFileSync(GOLDEN, `[\n${lines.join(',\n')}\n]\n`)
} finally {
  await recorder.close()
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}
