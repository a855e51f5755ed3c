/** Kafka's own clients and tools against our broker. The Java producer is idempotent by default. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FETCH_TIMEOUT_MS, whyNoKafka } from '../../../bench/kafka/jars.ts'
import { java } from '../../../bench/kafka/java.ts'
import { type TestBroker, testBroker } from '../../../client/testing.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: Kafka's Java clients: ${reason}`)

const TOOLS = 'org.apache.kafka.tools'
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
/** Of each codec. */
const RECORDS = 5_000
const TOPIC = 'codecs'

describe.skipIf(reason !== undefined)("Kafka's Java clients and tools", () => {
  let broker: TestBroker

  beforeAll(async () => {
    broker = await testBroker({ defaultPartitions: 2 })
  })
  afterAll(() => broker.close())

  async function tool(name: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, output } = await java(`${TOOLS}.${name}`, ['--bootstrap-server', broker.bootstrap, ...args])
    expect(code, output).toBe(0)
    return stdout
  }

  test('topics', { timeout: FETCH_TIMEOUT_MS }, async () => {
    await tool('TopicCommand', '--create', '--topic', 'made', '--partitions', '3', '--config', 'retention.ms=60000')
    const described = await tool('TopicCommand', '--describe', '--topic', 'made')
    expect(described).toContain('PartitionCount: 3')
    expect(described).toContain('retention.ms=60000')
    expect(described.match(/Leader: 1/g)).toHaveLength(3)
    await tool('TopicCommand', '--delete', '--topic', 'made')
    expect(await tool('TopicCommand', '--list')).not.toContain('made')
  })

  test.each(CODECS.map((codec, index) => [codec, (index + 1) * RECORDS] as const))(
    'producer, %s',
    { timeout: FETCH_TIMEOUT_MS },
    async (codec, total) => {
      await tool(
        'ProducerPerformance',
        ...['--topic', TOPIC, '--num-records', `${RECORDS}`, '--record-size', '100', '--throughput', '-1'],
        ...['--producer-props', 'acks=all', `compression.type=${codec}`],
      )
      const { partitions } = await broker.engine.admin.describeTopic(TOPIC)
      expect(partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0)).toBe(total)
    },
  )

  test('consumer, of batches of every codec', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const total = `${CODECS.length * RECORDS}`
    const said = await tool(
      'ConsumerPerformance',
      ...['--topic', TOPIC, '--num-records', total, '--hide-header', '--timeout', '20000'],
    )
    const line = said.split('\n').find(text => text.includes(','))
    expect(line?.split(', ')[4]).toBe(total)
  })

  test('groups: what a consumer committed, and a reset', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const groups = 'consumer.group.ConsumerGroupCommand'
    const [listed] = await broker.engine.admin.listGroups()
    const groupId = listed?.groupId as string
    const described = await tool(groups, '--describe', '--group', groupId)
    expect(described).toContain('CURRENT-OFFSET')
    const reset = ['--reset-offsets', '--to-earliest', '--all-topics', '--execute', '--group', groupId]
    await tool(groups, ...reset)
    const after = await broker.engine.admin.describeGroup(groupId)
    expect(after.offsets.every(({ offset }) => offset === 0)).toBe(true)
  })

  test('a group of the new protocol (KIP-848)', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const properties = [
      '--consumer-property',
      'group.protocol=consumer',
      '--consumer-property',
      'auto.offset.reset=earliest',
    ]
    const read = [
      '--topic',
      TOPIC,
      '--group',
      'new',
      '--max-messages',
      `${CODECS.length * RECORDS}`,
      '--timeout-ms',
      '30000',
    ]
    const said = await tool('consumer.ConsoleConsumer', ...read, ...properties)
    expect(said.split('\n').filter(line => /^[A-Z]{100}$/.test(line))).toHaveLength(CODECS.length * RECORDS)
    expect(await broker.engine.admin.describeGroup('new')).toMatchObject({ groupType: 'consumer' })
    const { offsets } = await broker.engine.admin.describeGroup('new')
    expect(offsets.reduce((sum, { offset }) => sum + (offset ?? 0), 0)).toBe(CODECS.length * RECORDS)
  })

  test('configuration', { timeout: FETCH_TIMEOUT_MS }, async () => {
    const change = ['--alter', '--entity-type', 'topics', '--entity-name', TOPIC]
    await tool('ConfigCommand', ...change, '--add-config', 'segment.bytes=1048576')
    expect((await broker.engine.admin.describeTopic(TOPIC)).config['segment.bytes']).toBe('1048576')
  })
})
