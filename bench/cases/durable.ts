/** Appends that survive a loss of power: many senders that each wait for their own acknowledgement. Main thread. */
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { DURABLE_SENDERS, LIMITS } from '../limits/all.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'
import { openEngine, TOPIC } from './engine.ts'

const VALUE_BYTES = 100
const SENDS_PER_SENDER = 500

async function durableSide(context: BenchContext): Promise<Side> {
  const engine = await openEngine(context, 'durable')
  await engine.admin.createTopic({ topic: TOPIC, config: { 'flush.messages': 1 } })
  const producer = await engine.producer()
  const values = makeValues(VALUE_BYTES)
  const sender = async (): Promise<void> => {
    for (let i = 0; i < SENDS_PER_SENDER; i++) {
      const value = values[i & (VALUE_COUNT - 1)] as Uint8Array
      await producer.send({ topic: TOPIC, messages: [{ value, partition: 0 }] })
    }
  }
  return {
    work: DURABLE_SENDERS * SENDS_PER_SENDER,
    async round() {
      const start = performance.now()
      await Promise.all(Array.from({ length: DURABLE_SENDERS }, sender))
      return performance.now() - start
    },
  }
}

export const durableCases: BenchCase[] = [
  {
    name: 'append/durable',
    unit: 'acks/s',
    bar: 0.5,
    limitName: LIMITS.fdatasync.name,
    run: async context => context.compareRates(await durableSide(context), LIMITS.fdatasync.side(context)),
  },
]
