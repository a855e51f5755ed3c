/**
 * `kill -9` while a log is compacted, at every step of the swap: of each key the latest acknowledged record is there, offsets
 * ascend, what was half-done is gone, and compaction goes on in the same directory.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import type { Failpoint } from '../../engine/base/failpoints.ts'
import type { CompactingPlan } from './programs/compacting.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const POINTS: readonly Failpoint[] = [
  'compaction-before-swap',
  'compaction-after-swap',
  'compaction-within-swap',
  'compaction-before-index',
  'compaction-before-sweep',
]
/**
 * Lives that follow one another in one directory, each with where it ends. `npm run test:faults` has two at each point, of which the
 * second ends at pass 1; otherwise the next life ends at the next point.
 */
const LIVES: readonly (readonly string[])[] =
  process.env['MILLRACE_FAULTS'] === 'all'
    ? POINTS.flatMap(point => [1, 2, 5].map(pass => [`${point}=kill@${pass}`, `${point}=kill@1`]))
    : [POINTS.map((point, index) => `${point}=kill@${index % 2 === 0 ? 5 : 1}`)]
const TOPIC = 'keyed'
const KEYS = 50

/** Runs the program until a failpoint ends it; returns how many records were acknowledged. */
async function crash(plan: CompactingPlan, failpoints: string): Promise<number> {
  const child = new Child('compacting.ts', plan, { failpoints })
  expect((await child.ended).signal, child.output).toBe('SIGKILL')
  const acked = child.lines.map(line => /^acked (\d+)$/.exec(line)?.[1]).filter(number => number !== undefined)
  expect(acked.length, child.output).toBeGreaterThan(0)
  return Number(acked.at(-1))
}

/** The newest value of each key, with offsets checked on the way. */
async function newest(engine: Millrace): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  let last = -1
  for await (const { offset, key, value } of engine.reader({ topic: TOPIC }).records()) {
    expect(offset).toBeGreaterThan(last)
    last = offset
    const number = Number(Buffer.from(value ?? []).toString())
    expect(Buffer.from(key ?? []).toString()).toBe(`${number % KEYS}`)
    found.set(`${number % KEYS}`, number)
  }
  return found
}

describe('kill -9 during compaction', () => {
  test.for(LIVES.map(lives => [lives.join(', '), lives] as const))('%s', { timeout: 240_000 }, async ([, lives]) => {
    const directory = join(temporaryDirectory('compaction'), 'data')
    {
      await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
      const config = { 'cleanup.policy': 'compact', 'segment.bytes': 16_384, 'index.interval.bytes': 400 }
      await engine.admin.createTopic({ topic: TOPIC, config })
    }
    let acked = 0
    for (const failpoints of lives) {
      acked = await crash({ directory, topic: TOPIC, from: acked }, failpoints)
      const reports: string[] = []
      const recovered = (_: unknown, list: readonly { decision: string }[]): void =>
        void reports.push(...list.map(({ decision }) => decision))
      await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 }, { recovered })
      const found = await newest(engine)
      for (let number = Math.max(0, acked - KEYS); number < acked; number++) {
        expect(found.get(`${number % KEYS}`)).toBeGreaterThanOrEqual(number)
      }
      // Nothing was torn: what there was to do was finishing a swap.
      for (const decision of reports) expect(decision).toMatch(/^(finish-delete|restore|rebuild-index|truncate)$/)
      const names = readdirSync(join(directory, `${TOPIC}-0`))
      expect(
        names.filter(name => !/^(\d{20}\.(log|index|timeindex|snapshot)|leader-epoch-checkpoint)$/.test(name)),
      ).toEqual([])
      // The program goes on counting behind whatever was appended.
      acked = Math.max(...found.values()) + 1
    }
  })
})
