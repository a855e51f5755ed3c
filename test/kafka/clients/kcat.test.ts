/** kcat, which is librdkafka, against our broker. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../../client/testing.ts'
import { batchesOf } from '../../client/support/batches.ts'
import { kcat as runKcat, whyNoKcat } from './support/kcat.ts'

const reason = whyNoKcat()
if (reason !== undefined) console.log(`skipped: kcat: ${reason}`)

describe.skipIf(reason !== undefined)('kcat', () => {
  let broker: TestBroker

  beforeAll(async () => {
    broker = await testBroker({ defaultPartitions: 3 })
  }, 120_000)
  afterAll(() => broker.close())

  const kcat = (args: readonly string[], input = ''): Promise<string> => runKcat(broker.bootstrap, args, input)

  const lines = (count: number): string => Array.from({ length: count }, (_, i) => `line-${i}\n`).join('')
  const sorted = (text: string): string[] => text.trimEnd().split('\n').sort()

  test('metadata', async () => {
    await broker.engine.admin.createTopic({ topic: 'shown', partitions: 2 })
    const listed = JSON.parse(await kcat(['-L', '-J'])) as { brokers: { name: string }[]; topics: { topic: string }[] }
    expect(listed.brokers).toEqual([{ id: 1, name: broker.bootstrap }])
    expect(listed.topics.map(({ topic }) => topic)).toContain('shown')
  })

  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('%s: what is produced is consumed', async codec => {
    const topic = `codec-${codec}`
    await broker.engine.admin.createTopic({ topic, partitions: 3, config: { 'segment.bytes': 1024 * 1024 } })
    await kcat(['-P', '-t', topic, '-z', codec, '-X', 'request.required.acks=-1'], lines(600))
    expect(sorted(await kcat(['-C', '-t', topic, '-e', '-q']))).toEqual(sorted(lines(600)))
    // It compresses what becomes smaller by it, if it believes the broker to understand that (KAFKA-18659).
    const batches = [0, 1, 2].flatMap(partition => batchesOf(join(broker.engine.directory, `${topic}-${partition}`)))
    expect(batches.map(batch => batch.codec)).toContain(codec)
    expect(batches.filter(batch => batch.records > 20 && batch.codec !== codec)).toEqual([])
  })

  test.each(['0', '1'])('acks %s', async acks => {
    const topic = `acks-${acks}`
    await kcat(['-P', '-t', topic, '-X', `request.required.acks=${acks}`], lines(100))
    expect(sorted(await kcat(['-C', '-t', topic, '-e', '-q']))).toEqual(sorted(lines(100)))
  })

  test('an idempotent producer', async () => {
    await kcat(['-P', '-t', 'idempotent', '-X', 'enable.idempotence=true'], lines(1_000))
    expect(sorted(await kcat(['-C', '-t', 'idempotent', '-e', '-q']))).toEqual(sorted(lines(1_000)))
  })

  test('a group goes on where it was', async () => {
    await kcat(['-P', '-t', 'grouped'], lines(300))
    const group = (id: string): string[] => ['-G', id, 'grouped', '-e', '-q', '-X', 'auto.offset.reset=earliest']
    expect(sorted(await kcat(group('classic')))).toEqual(sorted(lines(300)))
    expect(await kcat(group('classic'))).toBe('')
  })

  test('offsets for a time', async () => {
    await broker.engine.admin.createTopic({ topic: 'timed', partitions: 1 })
    {
      await using producer = await broker.engine.producer()
      const messages = [1_000, 2_000, 3_000].map(timestamp => ({ value: `${timestamp}`, timestamp }))
      await producer.send({ topic: 'timed', messages })
    }
    expect(await kcat(['-Q', '-t', 'timed:0:1500'])).toContain('timed [0] offset 1')
    expect(await kcat(['-C', '-t', 'timed', '-o', 's@1500', '-e', '-q'])).toBe('2000\n3000\n')
  })
})
