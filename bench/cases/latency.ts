/** One record at a time, from send to acknowledgement. Main thread, kept apart from the engine's threads. */
import type { BenchCase, BenchContext } from '../harness/case.ts'
import { apart } from '../harness/placement.ts'
import { median, type Side } from '../harness/side.ts'
import { LIMITS } from '../limits/all.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'
import { openEngine, TOPIC } from './engine.ts'

const VALUE_BYTES = 100
const SENDS = 2000

async function latencySide(context: BenchContext): Promise<Side> {
  const engine = await openEngine(context, 'latency')
  await engine.admin.createTopic({ topic: TOPIC })
  const producer = await engine.producer()
  const values = makeValues(VALUE_BYTES)
  return {
    work: 1,
    async round() {
      const times: number[] = []
      for (let i = 0; i < SENDS; i++) {
        const messages = [{ value: values[i & (VALUE_COUNT - 1)] as Uint8Array, partition: 0 }]
        const start = performance.now()
        await producer.send({ topic: TOPIC, messages })
        times.push(performance.now() - start)
      }
      return median(times)
    },
  }
}

export const latencyCases: BenchCase[] = [
  {
    name: 'latency/ack',
    unit: 'us',
    bar: 0.33,
    limitName: LIMITS.roundTrip.name,
    run: async context => context.compareLatencies(apart(await latencySide(context)), LIMITS.roundTrip.side(context)),
  },
]
