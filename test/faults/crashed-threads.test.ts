/**
 * Threads that die. A writer or a service of the engine: what was under way fails with a typed error, the partitions recover without
 * the process, everything acknowledged is there. A thread of the user: what it held is taken back. And the orderly end: nothing is left.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import type { ClosingPlan } from './programs/closing.ts'
import type { SendPlan } from './programs/sender.ts'
import type { UserThreadsPlan } from './programs/user-threads.ts'
import { type AckBook, readAckBook } from './support/ack-log.ts'
import { Checker } from './support/checker.ts'
import { Child } from './support/child.ts'
import { temporaryDirectory } from './support/surroundings.ts'
import { verifyDirectory } from './support/verify.ts'

const seed = testSeed()
const CONFIG = { 'segment.bytes': 65_536, 'index.interval.bytes': 1_024, 'retention.ms': -1 }
const DURABLE = { ...CONFIG, 'flush.messages': 1 }
const LONGEST_MS = 12_000
const isAll = process.env['MILLRACE_FAULTS'] === 'all'
/** Of the engine, in one run, and of the user. */
const TERMINATIONS = isAll ? 6 : 4
const USER_THREADS = isAll ? 12 : 6

function places(): { directory: string; ackPath: string } {
  const folder = temporaryDirectory('threads')
  return { directory: join(folder, 'data'), ackPath: join(folder, 'acks') }
}

/** Sends while threads die; the process has to get over it, close, and end. */
async function sendThrough(plan: Partial<SendPlan>, failpoints?: string): Promise<AckBook & { output: string }> {
  const at = places()
  const random = new Random(seed)
  const full: SendPlan = {
    ...at,
    run: 0,
    seed: random.u32(),
    topic: 'topic',
    partitions: 3,
    config: CONFIG,
    successes: 60,
    failures: 1,
    longestMs: LONGEST_MS,
    ...plan,
  }
  const startMs = performance.now()
  const child = new Child('sender.ts', full, failpoints === undefined ? {} : { failpoints })
  const ended = await child.exit(40_000)
  const book = readAckBook({ path: at.ackPath })
  const context = `seed ${seed}\n${book.events.join('\n')}\n${child.output}`
  expect(ended, context).toMatchObject({ code: 0, signal: null })
  expect(child.lines, context).toContain('closed')
  expect(performance.now() - startMs, `it went on after the failure\n${context}`).toBeLessThan(full.longestMs as number)
  await verifyDirectory(at.directory, book, new Checker(random), context)
  return { ...book, output: child.output }
}

const codesOf = ({ failed }: AckBook): string[] => [...new Set(failed.map(({ code }) => code))]

describe('a thread of the engine dies', () => {
  test.for([
    { failpoints: 'append-before-copy=exit@60', config: CONFIG },
    { failpoints: 'append-torn-copy=exit@60', config: CONFIG },
    { failpoints: 'append-before-publish=exit@60', config: DURABLE },
    { failpoints: 'roll-before-create=exit@2', config: CONFIG },
    { failpoints: 'roll-after-create=exit@2', config: DURABLE },
    { failpoints: 'flush-before-sync=exit@10', config: DURABLE },
    { failpoints: 'flush-after-sync=exit@10', config: DURABLE },
    { failpoints: 'seal-before-cut=exit@1', config: DURABLE },
    { failpoints: 'append-torn-copy=exit@30,seal-before-cut=exit@1', config: CONFIG, successes: 400 },
  ])('$failpoints', { timeout: 60_000 }, async ({ failpoints, config, successes = 60 }) => {
    const book = await sendThrough({ config, successes }, failpoints)
    expect(codesOf(book)).toEqual(['WRITER_CRASHED'])
    expect(book.events.some(event => event.startsWith('writer-restarted'))).toBe(true)
  })

  test.for(isAll ? [1, 2, 3] : [1, 2])('any of them, again and again (%i)', { timeout: 60_000 }, async number => {
    const config = number === 2 ? CONFIG : DURABLE
    const book = await sendThrough({ config, seed: seed + number, failures: 0, terminations: TERMINATIONS })
    expect(book.events.filter(event => event.startsWith('terminated'))).toHaveLength(TERMINATIONS)
    expect(codesOf(book).filter(code => code !== 'WRITER_CRASHED')).toEqual([])
  })
})

test('a broken rule stops one partition with its error, and the others go on', { timeout: 60_000 }, async () => {
  const at = places()
  const plan: SendPlan = {
    ...at,
    run: 0,
    seed,
    topic: 'topic',
    partitions: 3,
    config: CONFIG,
    // A third of the sends fails, so such a row takes some hundred of them.
    successes: 12,
    failures: 1,
    longestMs: LONGEST_MS,
  }
  const child = new Child('sender.ts', plan, { failpoints: 'append-before-copy=throw@60' })
  expect(await child.exit(), child.output).toMatchObject({ code: 0, signal: null })
  const book = readAckBook({ path: at.ackPath })
  expect(codesOf(book)).toEqual(['PARTITION_FAILED'])
  const failed = new Set(book.failed.map(({ stream }) => stream.split('/').at(-1)))
  expect(failed.size).toBe(1)
  const lastFailure = book.failed[0]?.stream
  expect(
    book.acks.filter(({ stream }) => stream.split('/').at(-1) !== lastFailure?.split('/').at(-1)).length,
  ).toBeGreaterThan(20)
  await verifyDirectory(at.directory, book, new Checker(new Random(seed)), `seed ${seed}`)
})

test('threads of the user that die while they append leave nothing behind', { timeout: 90_000 }, async () => {
  const at = places()
  const child = new Child('user-threads.ts', { ...at, seed, threads: USER_THREADS } satisfies UserThreadsPlan)
  const ended = await child.exit(60_000)
  const context = `seed ${seed}\n${child.output}`
  expect(ended, context).toMatchObject({ code: 0, signal: null })
  expect(child.stderr, context).toBe('')
  await verifyDirectory(at.directory, readAckBook({ path: at.ackPath }), new Checker(new Random(seed)), context)
})

test('close leaves no thread, handle, descriptor, mapping or unflushed byte', { timeout: 60_000 }, async () => {
  const at = places()
  const child = new Child('closing.ts', { ...at, run: 0 } satisfies ClosingPlan, { nodeArguments: ['--expose-gc'] })
  await child.line(/^closed$/)
  const startMs = performance.now()
  expect(await child.exit(), child.output).toMatchObject({ code: 0, signal: null })
  expect(performance.now() - startMs, 'it ended by itself, and at once').toBeLessThan(2_000)
  expect(child.stderr, child.output).toBe('')
  await verifyDirectory(at.directory, readAckBook({ path: at.ackPath }), new Checker(new Random(seed)), `seed ${seed}`)
})
