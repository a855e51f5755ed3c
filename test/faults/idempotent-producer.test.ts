/**
 * An idempotent producer whose partitions' writer dies again and again: in the middle of an append, before it is published, before and
 * after a flush, while a segment begins. Every record is in the log once, and in its order; also after the process was killed.
 */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import { temporaryDirectories } from '../engine/log/recovery-fixture.ts'
import type { IdempotentPlan } from './programs/idempotent.ts'
import type { NumberingPlan } from './programs/numbering.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const isAll = process.env['MILLRACE_FAULTS'] === 'all'
/** A writer dies at each so many passes: half the records make less than half the deaths. */
const RECORDS = isAll ? 600 : 300
const TOPICS = { plain: {}, durable: { 'flush.messages': 1 } } as const

const FAILPOINTS = [
  'append-before-copy=exit@60',
  'append-torn-copy=exit@60',
  'append-before-publish=exit@60',
  'roll-after-create=exit@3',
  'snapshot-before-write=exit@3',
  `flush-before-sync=exit@${isAll ? 15 : 5}`,
  `flush-after-sync=exit@${isAll ? 15 : 5}`,
] as const

const directories = temporaryDirectories('idempotent')
afterAll(() => directories.removeAll())
/** A directory with the topics of all tests, which begin with a copy. */
let empty: string
beforeAll(async () => {
  empty = join(directories.next(), 'data')
  await using engine = await Millrace.open(empty, { writers: 1, jobThreads: 1 })
  for (const [topic, own] of Object.entries(TOPICS)) {
    const config = { 'segment.bytes': 16_384, ...own }
    await engine.admin.createTopic({ topic, partitions: 2, config })
    await engine.admin.createTopic({ topic: `numbered-${topic}`, config })
  }
}, 60_000)

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
    cpSync(empty, directory, { recursive: true })
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
  /** Of a life but the last: two segments. What a service of the engine dies at may come behind the last append. */
  const RECORDS_OF_A_LIFE = 81
  const ROLLING = [
    'roll-after-create=kill@1',
    'snapshot-before-write=kill@1',
    'snapshot-before-rename=kill@1',
    'snapshot-after-rename=kill@1',
  ]

  test.for(['plain', 'durable'] as const)('%s', { timeout: 120_000 }, async kind => {
    const directory = join(temporaryDirectory('numbering'), 'data')
    cpSync(empty, directory, { recursive: true })
    const topic = `numbered-${kind}`
    let from = 0
    const lives = [
      'append-before-publish=kill@23',
      ...(isAll || kind === 'plain' ? ROLLING : []),
      'append-torn-copy=kill@9',
      'close-before-marker=kill@1',
    ]
    for (const failpoints of lives) {
      const to = failpoints === lives.at(-1) ? TO : from + RECORDS_OF_A_LIFE
      const plan: NumberingPlan = { directory, topic, from, to }
      const child = new Child('numbering.ts', plan, { failpoints })
      expect((await child.exit(60_000)).signal, `${failpoints}\n${child.output}`).toBe('SIGKILL')
      const acked = child.lines.map(line => Number(/^acked (\d+)$/.exec(line)?.[1] ?? 0))
      from = Math.max(from, ...acked)
    }
    expect(from).toBe(TO)
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    const found: number[] = []
    for await (const { value } of engine.reader({ topic }).records()) {
      found.push(Number(Buffer.from(value ?? []).toString()))
    }
    expect(found).toEqual(Array.from({ length: TO }, (_, i) => i))
  })
})
