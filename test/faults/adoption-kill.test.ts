/**
 * `kill -9` while folders of something else are taken in: the topic is unknown afterwards and its folders are as they were, or it is
 * there with every record, also where compaction had left gaps and the end was torn.
 */
import { mkdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import type { Failpoint } from '../../engine/base/failpoints.ts'
import { writeForeign } from '../engine/log/foreign-fixture.ts'
import { contentOf, logPath } from '../engine/log/recovery-fixture.ts'
import type { AdoptingPlan } from './programs/adopting.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

/** Where it dies, and whether the store knows the topic by then. */
const POINTS: readonly { readonly point: Failpoint; readonly isKnown: boolean }[] = [
  { point: 'adopt-before-store', isKnown: false },
  { point: 'adopt-after-store', isKnown: true },
  { point: 'recovery-before-cut', isKnown: true },
  { point: 'truncate-before-zero', isKnown: true },
  { point: 'recovery-after-cut', isKnown: true },
]
const TOPIC = 'foreign'
const OFFSETS = [3, 4, 9, 20, 21]

describe('kill -9 while a topic is taken in', () => {
  test.for(POINTS)('$point', { timeout: 120_000 }, async ({ point, isKnown }) => {
    const directory = join(temporaryDirectory('adoption'), 'data')
    const folder = join(directory, `${TOPIC}-0`)
    const batches = [...OFFSETS, 22].map(offset => ({ offset, records: [`k${offset}=v${offset}`] }))
    mkdirSync(directory)
    writeForeign(folder, [batches.slice(0, 3), batches.slice(3)])
    const last = logPath(folder, 20)
    truncateSync(last, readFileSync(last).length - 2)
    const before = contentOf(folder)
    const plan: AdoptingPlan = { directory, topic: TOPIC }
    const killed = new Child('adopting.ts', plan, { failpoints: `${point}=kill` })
    expect((await killed.exit(60_000)).signal, killed.output).toBe('SIGKILL')
    if (!isKnown) expect(contentOf(folder)).toEqual(before)
    const again = new Child('adopting.ts', plan)
    expect((await again.exit(60_000)).code, again.output).toBe(0)
    expect(again.lines).toEqual([isKnown ? 'there' : 'adopted'])
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    const found: number[] = []
    for await (const { offset } of engine.reader({ topic: TOPIC }).records()) found.push(offset)
    expect(found).toEqual(OFFSETS)
  })
})
