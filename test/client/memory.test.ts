/** Anonymous memory of a service that appends and reads on and on: it must not grow with what went through. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { Child, killAll } from '../faults/support/child.ts'
import type { LongAppendPlan } from './programs/long-append.ts'

afterEach(killAll)

const MIB = 2 ** 20

interface Sample {
  readonly appended: number
  readonly read: number
  readonly anonymousKib: number
  readonly pinnedBytes: number
  readonly mappedBytes: number
}

test('RssAnon stays flat while a log is appended to and read', { timeout: 150_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  const plan: LongAppendPlan = { directory, runMs: 3_000, bytesMin: 200 * MIB, runMsMax: 100_000 }
  const child = new Child('../../client/programs/long-append.ts', plan)
  expect(await child.exit(120_000), child.output).toMatchObject({ code: 0, signal: null })
  rmSync(directory, { recursive: true, force: true })
  const samples = child.lines.map(line => JSON.parse(line) as Sample)
  const last = samples.at(-1) as Sample
  expect(last.read).toBeGreaterThan(0)
  // The first quarter warms up: heaps grow to what they need and code is compiled.
  const settled = samples.slice(Math.floor(samples.length / 4))
  const appended = last.appended - (settled[0] as Sample).appended
  const half = Math.floor(settled.length / 2)
  const highest = (list: readonly Sample[]): number => Math.max(...list.map(({ anonymousKib }) => anonymousKib * 1024))
  const growth = highest(settled.slice(half)) - highest(settled.slice(0, half))
  expect(appended, 'something went through').toBeGreaterThan(100 * MIB)
  expect(growth, JSON.stringify(samples)).toBeLessThan(Math.min(24 * MIB, appended / 5))
  // Address space is given back as retention deletes: what is mapped does not grow with what went through either.
  expect(Math.max(...settled.map(({ mappedBytes }) => mappedBytes))).toBeLessThan(512 * MIB)
})
