import { describe, expect, test } from 'vitest'
import { BatchBudget } from '../../client/batch-budget.ts'
import { KIB, MIB } from '../../engine/base/limits.ts'

const OPTIONS = { batchBytes: 64 * KIB, bufferBytes: 32 * MIB, usualBytes: 4 * MIB, slabBytes: 2 * KIB }

/** As many batches are open as `open` says, and were for some time. */
function budgetWith(open: number): BatchBudget {
  const budget = new BatchBudget(OPTIONS)
  for (let i = 0; i < open; i++) budget.opened()
  return budget
}

test('with few partitions a batch may grow to its limit, in the usual memory', () => {
  for (const open of [0, 1, 10, 32]) {
    const budget = budgetWith(open)
    expect([budget.shareBytes, budget.limitSlabs]).toEqual([64 * KIB, (4 * MIB) / (2 * KIB)])
  }
})

describe('with many', () => {
  test.each([100, 500, 1_000, 5_000])('%i open batches fit into half of the memory', open => {
    const budget = budgetWith(open)
    expect(open * budget.shareBytes).toBeLessThanOrEqual((budget.limitSlabs * OPTIONS.slabBytes) / 2)
    expect(budget.limitSlabs * OPTIONS.slabBytes).toBeLessThanOrEqual(OPTIONS.bufferBytes)
    expect(budget.shareBytes).toBeGreaterThanOrEqual(OPTIONS.slabBytes)
  })

  test('a batch is never smaller than a slab', () => {
    expect(budgetWith(100_000).shareBytes).toBe(OPTIONS.slabBytes)
  })

  test('who waits goes on when all the batches that follow have room, or half is free', () => {
    const budget = budgetWith(1_000)
    for (let i = 0; i < 1_000; i++) budget.closed()
    expect(budget.resumeSlabs).toBe(1_000 * (budget.shareBytes / OPTIONS.slabBytes))
    expect(budget.resumeSlabs).toBeLessThanOrEqual(budget.limitSlabs / 2)
  })
})

test('a number of batches that was reached once is forgotten', () => {
  const budget = budgetWith(1_000)
  for (let i = 0; i < 1_000; i++) budget.closed()
  for (let i = 0; i < 10_000; i++) {
    budget.opened()
    budget.closed()
  }
  expect(budget.shareBytes).toBe(64 * KIB)
})

test('memory that is full of open batches is divided among twice as many', () => {
  const budget = budgetWith(1_000)
  const before = budget.shareBytes
  budget.refused()
  expect(budget.shareBytes).toBeLessThanOrEqual(before / 2)
})
