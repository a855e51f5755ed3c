/**
 * Thousands of partitions in one engine: what they cost while idle, in memory, on disk and in descriptors, and that they are
 * appended to in turn at a rate like that of a few. Measured in processes of their own; times have room for a busy machine.
 */
import { expect, test } from 'vitest'
import { runMany } from './support/many-partitions.ts'

const MIB = 2 ** 20
/** `npm run test:faults` has the thousands; the same shows with hundreds, in a third of the time. */
const isAll = process.env['MILLRACE_FAULTS'] === 'all'
const MANY = isAll ? 1_000 : 300
const WHOLE = isAll ? 1_500 : 700

test(`${MANY} idle partitions need disk for what was written, little memory, no descriptors`, {
  timeout: 180_000,
}, async () => {
  const filled = await runMany('fill', MANY, 'idle')
  expect(filled).toEqual({ allocatedEmpty: 0, allocated: MANY * 4_096, written: MANY * 4_096 })
  const idle = await runMany('idle', MANY, 'idle')
  expect(idle['right']).toBe(MANY)
  expect(idle['anonymousBytes']).toBeLessThan(150 * MIB)
  expect(idle['descriptors']).toBeLessThan(100)
  expect(idle['openMs']).toBeLessThan(20_000) // below 1 s where nothing else runs: npm run bench -- --only open
})

test(`in turn to ${MANY} partitions goes no slower than a fraction of the rate to 10`, {
  timeout: 180_000,
}, async () => {
  const { ratio } = await runMany('rate', MANY, 'rate')
  expect(ratio).toBeGreaterThan(0.15) // at least half where nothing else runs: npm run bench -- --only append/1000
})

test(`${WHOLE} partitions take and give their records with 512 descriptors`, { timeout: 180_000 }, async () => {
  const whole = await runMany('whole', WHOLE, 'whole', 'ulimit -n 512')
  expect(whole).toMatchObject({ right: 2 * WHOLE, read: WHOLE })
  expect(whole['descriptors']).toBeLessThan(300)
})
