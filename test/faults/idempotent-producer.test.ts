/**
 * An idempotent producer whose partitions' writer dies again and again: in the middle of an append, before it is published, before and
 * after a flush, while a segment begins. Every record is in the log once, and in its order; also after the process was killed.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import type { IdempotentPlan } from './programs/idempotent.ts'
import type { NumberingPlan } from './programs/numbering.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const RECORDS = 600
const TOPICS = { plain: {}, durable: { 'flush.messages': 1 } } as const

const FAILPOINTS = [
  'append-before-copy=exit@60',
  'append-torn-copy=exit@60',
  'append-before-publish=exit@60',
  'roll-after-create=exit@4',
  'snapshot-before-write=exit@4',
  'flush-before-sync=exit@15',
  'flush-after-sync=exit@15',
] as const

async function valuesOf(engine: Millrace, topic: string): Promise<number[][]> {
  const values: number[][] = [[], []]
  for await (const { partition, value } of engine.reader({ topic }).records()) {
    values[partition]?.push(Number(Buffer.from(value ?? []).toString()))
  }
  return values
}

describe('every record once, in its order', () => {
  test.for(FAILPOINTS)('%s', { timeout: 120_000 }, async failpoints => {
    const directory = join(temporaryDirectory('idempotent'), 'data')
    const topics = Object.keys(TOPICS)
    {
      await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
      for (const [topic, config] of Object.entries(TOPICS)) {
        const small = { 'segment.bytes': 16_384, ...config }
        await engine.admin.createTopic({ topic, partitions: 2, config: small })
      }
    }
    const plan: IdempotentPlan = { directory, topics, records: RECORDS }
    const child = new Child('idempotent.ts', plan, { failpoints })
    expect((await child.exit(90_000)).signal, child.output).toBe('SIGKILL')
    expect(child.lines, child.output).toContain('sent')
    expect(child.lines, 'the failpoint acted').toContain('restarted')
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    const expected = [0, 1].map(first => Array.from({ length: RECORDS / 2 }, (_, i) => 2 * i + first))
    for (const topic of topics) expect(await valuesOf(engine, topic), topic).toEqual(expected)
  })
})

/**
 * A producer outside of the process, as a client of a server is: it sends again whatever was not acknowledged before the process
 * was killed. Batches of five are under way, so up to five may be there already.
 */
describe('what is sent again after kill -9 is there once', () => {
  const TO = 450
  const TOPIC = 'numbered'

  test.for(['plain', 'durable'] as const)('%s', { timeout: 120_000 }, async kind => {
    const directory = join(temporaryDirectory('numbering'), 'data')
    {
      await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
      const config = { 'segment.bytes': 16_384, ...TOPICS[kind] }
      await engine.admin.createTopic({ topic: TOPIC, config })
    }
    let from = 0
    for (const failpoints of [
      'append-before-publish=kill@23',
      'roll-after-create=kill@1',
      'snapshot-before-write=kill@1',
      'snapshot-before-rename=kill@1',
      'snapshot-after-rename=kill@1',
      'append-torn-copy=kill@9',
      'close-before-marker=kill@1',
    ]) {
      const plan: NumberingPlan = { directory, topic: TOPIC, from, to: TO }
      const child = new Child('numbering.ts', plan, { failpoints })
      expect((await child.exit(60_000)).signal, `${failpoints}\n${child.output}`).toBe('SIGKILL')
      const acked = child.lines.map(line => Number(/^acked (\d+)$/.exec(line)?.[1] ?? 0))
      from = Math.max(from, ...acked)
    }
    expect(from).toBe(TO)
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    const found: number[] = []
    for await (const { value } of engine.reader({ topic: TOPIC }).records()) {
      found.push(Number(Buffer.from(value ?? []).toString()))
    }
    expect(found).toEqual(Array.from({ length: TO }, (_, i) => i))
  })
})
