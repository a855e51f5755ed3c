/**
 * `kill -9` while a log is cut at its end, or at its beginning: at each step, and again in the recovery that finishes it. Afterwards
 * the log is the whole one or the cut one, never something in between, and what was answered as done is done.
 */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../client/index.ts'
import type { Failpoint } from '../../engine/base/failpoints.ts'
import { temporaryDirectories } from '../engine/log/recovery-fixture.ts'
import type { TruncatingPlan } from './programs/truncating.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'

const TOPIC = 'cut'
const RECORDS = 40
const CUT = 13

const directories = temporaryDirectories('truncation-kill')
afterAll(() => directories.removeAll())
let original: string
beforeAll(async () => {
  original = join(directories.next(), 'data')
  await using engine = await Millrace.open(original, { writers: 1, jobThreads: 1 })
  await engine.admin.createTopic({ topic: TOPIC, config: { 'segment.bytes': 16_384, 'index.interval.bytes': 400 } })
  const producer = await engine.producer()
  for (let i = 0; i < RECORDS; i++) {
    await producer.send({ topic: TOPIC, messages: [{ value: `${i}`.padEnd(2_000) }] })
  }
}, 60_000)

async function valuesOf(directory: string): Promise<string[]> {
  await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  const found: string[] = []
  for await (const { value } of engine.reader({ topic: TOPIC }).records()) {
    found.push(
      Buffer.from(value ?? [])
        .toString()
        .trim(),
    )
  }
  return found
}

/** What must be found, by what the program said before it died. */
function expected(what: TruncatingPlan['what'], said: readonly string[]): string[][] {
  const all = Array.from({ length: RECORDS }, (_, i) => `${i}`)
  const after = what === 'truncate' ? all.slice(0, CUT) : all.slice(CUT)
  if (said.includes('sent')) return [[...after, 'behind']]
  return said.includes('done') ? [after, [...after, 'behind']] : [all, after]
}

const POINTS: readonly (readonly [TruncatingPlan['what'], Failpoint, number])[] = [
  ['truncate', 'checkpoint-before-put', 1],
  ['truncate', 'truncation-before-drop', 1],
  ['truncate', 'truncation-within-drop', 1],
  ['truncate', 'truncation-within-drop', 3],
  ['truncate', 'truncation-before-cut', 1],
  ['truncate', 'repair-before-rename', 1],
  ['truncate', 'truncation-after-cut', 1],
  ['truncate', 'append-before-publish', 1],
  ['delete-records', 'delete-records-before-put', 1],
  ['delete-records', 'checkpoint-before-put', 1],
  ['delete-records', 'delete-records-after-put', 1],
  ['delete-records', 'delete-before-unlink', 1],
]

describe('kill -9', () => {
  test.for(POINTS)('%s at %s, pass %i', { timeout: 90_000 }, async ([what, point, pass]) => {
    const directory = join(temporaryDirectory('truncation'), 'data')
    cpSync(original, directory, { recursive: true })
    const plan: TruncatingPlan = { directory, topic: TOPIC, what, offset: CUT }
    const child = new Child('truncating.ts', plan, { failpoints: `${point}=kill@${pass}` })
    expect((await child.ended).signal, child.output).toBe('SIGKILL')
    expect(expected(what, child.lines), child.output).toContainEqual(await valuesOf(directory))
  })

  /** It died when it was stored that the log is to be cut, and nothing was done yet. */
  let begun: string
  beforeAll(async () => {
    begun = join(directories.next(), 'data')
    cpSync(original, begun, { recursive: true })
    const plan: TruncatingPlan = { directory: begun, topic: TOPIC, what: 'truncate', offset: CUT }
    const first = new Child('truncating.ts', plan, { failpoints: 'truncation-before-drop=kill' })
    expect((await first.ended).signal, first.output).toBe('SIGKILL')
  }, 90_000)

  test.for([
    'truncation-within-drop',
    'truncation-before-cut',
    'truncate-before-zero',
    'truncation-after-cut',
  ] as const)('in the recovery that finishes a cut, at %s', { timeout: 90_000 }, async point => {
    const directory = join(temporaryDirectory('truncation'), 'data')
    cpSync(begun, directory, { recursive: true })
    const plan: TruncatingPlan = { directory, topic: TOPIC, what: 'truncate', offset: CUT }
    const second = new Child('truncating.ts', plan, { failpoints: `${point}=kill` })
    expect((await second.ended).signal).toBe('SIGKILL')
    expect(second.lines).toEqual([]) // it died while the directory was opened
    // It was stored that the log is to be cut, so it is.
    expect([await valuesOf(directory)]).toEqual([Array.from({ length: CUT }, (_, i) => `${i}`)])
  })
})
