/**
 * Replication: what three brokers store of what one producer sends, acknowledged by all of them (acks=all). Beside it three copies of the same bytes
 * into prefaulted mappings. Main thread.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Millrace, type Producer } from '../../client/index.ts'
import type { EncodedBatch } from '../../engine/format/record-batch.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { copyLimit } from '../limits/copy.ts'
import { encodedBatches } from './encoded-batches.ts'
import { PIECE_BYTES, type Piece, RoundTopic } from './round-topic.ts'

const REPLICAS = 3
const VALUE_BYTES = 1024
const BATCH_RECORDS = 60
const BATCHES = 64
const PIECES = 4

async function sharedSide(context: BenchContext): Promise<Side> {
  const directory = context.freshDirectory('replicate')
  const cluster = await Millrace.cluster({ dir: directory, brokers: REPLICAS, leaseMs: 60_000 }, { writers: 1 })
  context.defer(() => cluster.close())
  const producers = new Map<number, Producer>()
  for (const brokerId of cluster.brokerIds) producers.set(brokerId, await cluster.broker(brokerId).producer())
  const relocate = async (topic: string): Promise<readonly [Millrace, Producer]> => {
    for (;;) {
      const leader = cluster.leaderOf(topic, 0)
      if (leader !== undefined && (await takes(cluster.broker(leader), topic))) {
        return [cluster.broker(leader), producers.get(leader) as Producer]
      }
      await sleep(20)
    }
  }
  const topic = new RoundTopic(cluster.broker(1), producers.get(1) as Producer, relocate)
  const piece = pieceOf(PIECE_BYTES)
  const nudge = pieceOf(1024 * 1024)
  return {
    work: piece.bytes * PIECES,
    async prepare() {
      await topic.renew()
      await topic.ramp(piece)
    },
    async round() {
      let ms = 0
      for (let i = 0; i < PIECES; i++) {
        await topic.getAhead(nudge)
        ms += await topic.append(piece)
      }
      return ms
    },
  }
}

/** Whether all replicas of a new topic are there: acks=all comes back. */
async function takes(engine: Millrace, topic: string): Promise<boolean> {
  const producer = await engine.producer()
  try {
    await producer.send({ topic, messages: [{ value: 'first', partition: 0 }] })
    return true
  } catch {
    return false
  } finally {
    await producer.close()
  }
}

function pieceOf(bytes: number): Piece & { readonly bytes: number } {
  const batches = encodedBatches(BATCHES, BATCH_RECORDS, VALUE_BYTES)
  const batchBytes = (batches[0] as EncodedBatch).bytes.length
  const count = Math.floor(bytes / batchBytes)
  return {
    bytes: count * batchBytes,
    records: count * BATCH_RECORDS,
    async append(producer, appender) {
      for (let next = 0; next < count; next++) {
        while (!appender.tryAppendBatch(batches[next % BATCHES] as EncodedBatch)) await producer.ready()
      }
    },
  }
}

export const replicateCases: BenchCase[] = [
  {
    name: 'replicate/shared',
    unit: 'bytes/s',
    bar: 0.4,
    limitName: 'three copies',
    async run(context) {
      const copies = copyLimit(context.scratch, VALUE_BYTES * BATCH_RECORDS, REPLICAS * PIECES * PIECE_BYTES)
      return context.compareRates(await sharedSide(context), { ...copies, work: copies.work / REPLICAS })
    },
  },
]
