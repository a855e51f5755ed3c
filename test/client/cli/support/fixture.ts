/** A data directory with a topic of known records, made by one engine. */
import { Millrace } from '../../../../client/index.ts'

/** Partition 0 has ten values `v0` to `v9` at 1,000 ms and on; partition 1 has every kind of key, value and header. */
export async function makeRecords(directory: string): Promise<void> {
  await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  await engine.admin.createTopic({ topic: 'orders', partitions: 3 })
  await engine.admin.createTopic({ topic: 'empty' })
  await using producer = await engine.producer()
  const plain = Array.from({ length: 10 }, (_, i) => ({ key: `k${i % 2}`, value: `v${i}`, timestamp: 1_000 + i * 10 }))
  for (const message of plain) await producer.send({ topic: 'orders', messages: [{ ...message, partition: 0 }] })
  const odd = [
    { key: null, value: Buffer.from([0xff, 0, 0x0a]), timestamp: 1_045 },
    { key: Buffer.from([0xc3, 0x28]), value: 'grün', timestamp: 2_000, headers: { a: '1', b: Buffer.from([0x80]) } },
    { key: '', value: null, timestamp: 2_001 },
    {
      key: 'k',
      value: '',
      timestamp: 2_002,
      headers: [
        { key: 'twice', value: Buffer.from('x') },
        { key: 'twice', value: null },
      ],
    },
  ]
  await producer.send({ topic: 'orders', messages: odd.map(message => ({ ...message, partition: 1 })) })
}
