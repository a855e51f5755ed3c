import { expect, test } from 'vitest'
import { type CaseTable, decide } from '../../../engine/base/case-table.ts'

test('a row that is missing or doubled is an invariant, not a guess', () => {
  const table: CaseTable<{ readonly a: boolean }, 'x' | 'y'> = {
    domains: { a: [true, false] },
    rows: [
      { a: true, decision: 'x' },
      { a: 'any', decision: 'y' },
    ],
  }
  expect(decide(table, { a: false })).toBe('y')
  expect(() => decide(table, { a: true })).toThrow('exactly one row')
  expect(() => decide<{ readonly a: boolean }, 'x' | 'y'>({ ...table, rows: [] }, { a: true })).toThrow(
    'exactly one row',
  )
})
