/** Numbered batches over the wire: one that comes again, one that is missing, an old epoch; also after the engine was closed and opened. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, expect, test } from 'vitest'
import { Millrace } from '../../../../client/index.ts'
import { crc32c } from '../../../../engine/format/crc32c.ts'
import { BATCH, encodeBatch } from '../../../../engine/format/record-batch.ts'
import { initProducerId } from '../../../../engine/kafka/messages/init-producer-id.ts'
import { produce } from '../../../../engine/kafka/messages/produce.ts'
import { WireClient } from '../support/wire-client.ts'

const directory = mkdtempSync(join(tmpdir(), 'millrace-idempotence-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const MIB = 1024 * 1024
const CODE = { none: 0, tooLarge: 10, outOfOrder: 45, invalidEpoch: 47 }

async function open() {
  const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  const server = await engine.listen({ port: 0, drainMs: 100 })
  const client = await WireClient.open(server.port)
  return {
    engine,
    async [Symbol.asyncDispose]() {
      client.socket.destroy()
      await engine.close()
    },
    async newProducer(): Promise<{ producerId: number; producerEpoch: number }> {
      const answer = await client.request(initProducerId, 4, {
        transactionalId: null,
        transactionTimeoutMs: 1_000,
        producerId: -1,
        producerEpoch: -1,
      })
      return { producerId: Number(answer.producerId), producerEpoch: answer.producerEpoch }
    },
    async produce(topic: string, records: Uint8Array): Promise<[code: number | undefined, offset: number]> {
      const topicData = [{ name: topic, partitionData: [{ index: 0, records }] }]
      const { responses } = await client.request(produce, 9, { acks: -1, timeoutMs: 10_000, topicData })
      const answer = responses[0]?.partitionResponses[0]
      return [answer?.errorCode, Number(answer?.baseOffset)]
    },
  }
}

const numbered = (producerId: number, producerEpoch: number, baseSequence: number, count = 2): Uint8Array =>
  encodeBatch(
    Array.from({ length: count }, (_, i) => ({ key: null, value: Buffer.from(`${baseSequence + i}`), timestamp: 1 })),
    { producerId, producerEpoch, baseSequence },
  ).bytes

test('duplicates are answered as they were, gaps and old epochs are refused, over a restart too', {
  timeout: 60_000,
}, async () => {
  let producerId: number
  {
    await using broker = await open()
    await broker.engine.admin.createTopic({ topic: 't' })
    const made = await broker.newProducer()
    producerId = made.producerId
    expect(made.producerEpoch).toBe(0)
    expect(await broker.produce('t', numbered(producerId, 0, 0))).toEqual([CODE.none, 0])
    expect(await broker.produce('t', numbered(producerId, 0, 2))).toEqual([CODE.none, 2])
    expect(await broker.produce('t', numbered(producerId, 0, 0))).toEqual([CODE.none, 0]) // once more
    expect(await broker.produce('t', numbered(producerId, 0, 6))).toEqual([CODE.outOfOrder, -1])
    expect(await broker.produce('t', numbered(producerId, 0, 4))).toEqual([CODE.none, 4])
    const other = await broker.newProducer()
    expect(other.producerId).not.toBe(producerId)
  }
  await using broker = await open()
  expect(await broker.produce('t', numbered(producerId, 0, 4))).toEqual([CODE.none, 4])
  expect(await broker.produce('t', numbered(producerId, 0, 8))).toEqual([CODE.outOfOrder, -1])
  expect(await broker.produce('t', numbered(producerId, 0, 6))).toEqual([CODE.none, 6])
  expect(await broker.produce('t', numbered(producerId, 1, 0))).toEqual([CODE.none, 8]) // a new epoch begins anew
  expect(await broker.produce('t', numbered(producerId, 0, 8))).toEqual([CODE.invalidEpoch, -1])
  const values: string[] = []
  for await (const { value } of broker.engine.reader({ topic: 't' }).records())
    values.push(Buffer.from(value ?? []).toString())
  expect(values).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '0', '1'])
})

test('a batch that grows beyond all measure when it is decompressed', { timeout: 120_000 }, async () => {
  await using broker = await open()
  await broker.engine.admin.createTopic({ topic: 'compacted', config: { 'cleanup.policy': 'compact' } })
  await broker.engine.admin.createTopic({ topic: 'plain' })
  const before = process.memoryUsage().rss
  const content = gzipSync(Buffer.alloc(300 * MIB))
  const bomb = Buffer.alloc(BATCH.headerBytes + content.length)
  bomb.set(encodeBatch([{ key: Buffer.from('k'), value: null, timestamp: 1 }]).bytes.subarray(0, BATCH.headerBytes))
  bomb.set(content, BATCH.headerBytes)
  bomb.writeInt32BE(bomb.length - 12, 8)
  bomb.writeInt16BE(1, 21) // gzip
  bomb.writeUInt32BE(crc32c(bomb, 21, bomb.length), BATCH.crcAt)
  // Keys of a compacted topic are looked at; nobody looks into what another topic gets, and who reads it is told.
  expect(await broker.produce('compacted', bomb)).toEqual([CODE.tooLarge, -1])
  expect(await broker.produce('plain', bomb)).toEqual([CODE.none, 0])
  const lookup = await broker.engine.lookup('plain')
  expect(() => lookup.byOffset(0, 0)).toThrow('DECOMPRESSED_TOO_LARGE')
  lookup.close()
  expect(await broker.produce('plain', numbered(77, 0, 0))).toEqual([CODE.none, 1])
  expect(process.memoryUsage().rss - before).toBeLessThan(1_200 * MIB)
})
