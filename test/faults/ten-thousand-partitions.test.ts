/** 10,000 partitions in one engine: each takes its record and gives it back, also after a start, with bounded descriptors and mappings. */
import { expect, test } from 'vitest'
import { runMany } from '../client/support/many-partitions.ts'

const PARTITIONS = 10_000

test('10,000 partitions', { timeout: 300_000 }, async () => {
  const whole = await runMany('whole', PARTITIONS, 'whole')
  expect(whole).toMatchObject({ right: 2 * PARTITIONS, read: PARTITIONS })
  expect(whole['descriptors']).toBeLessThan(6_000)
  expect(whole['mappings']).toBeLessThan(3 * PARTITIONS)
})
