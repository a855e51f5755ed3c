import { describe, expect, test } from 'vitest'
import {
  BOUNDARY_CASES,
  type CaseTable,
  DEPTH_CASES,
  decide,
  FAULT_CASES,
  FILE_CASES,
  INDEX_CASES,
  LOG_CASES,
  MARK_CASES,
  matchingRows,
  OPEN_CASES,
} from '../../../engine/log/recovery-cases.ts'

type AnyTable = CaseTable<Record<string, string | boolean>, string>

const TABLES: Record<string, AnyTable> = {
  OPEN_CASES: OPEN_CASES as unknown as AnyTable,
  FILE_CASES: FILE_CASES as unknown as AnyTable,
  DEPTH_CASES: DEPTH_CASES as unknown as AnyTable,
  FAULT_CASES: FAULT_CASES as unknown as AnyTable,
  BOUNDARY_CASES: BOUNDARY_CASES as unknown as AnyTable,
  LOG_CASES: LOG_CASES as unknown as AnyTable,
  MARK_CASES: MARK_CASES as unknown as AnyTable,
  INDEX_CASES: INDEX_CASES as unknown as AnyTable,
}

function combinations(table: AnyTable): Record<string, string | boolean>[] {
  let all: Record<string, string | boolean>[] = [{}]
  for (const [name, values] of Object.entries(table.domains)) {
    all = all.flatMap(facts => values.map(value => ({ ...facts, [name]: value })))
  }
  return all
}

describe.each(Object.entries(TABLES))('%s', (_, table) => {
  test('has exactly one row for every combination of facts', () => {
    for (const facts of combinations(table)) {
      expect(matchingRows(table, facts), JSON.stringify(facts)).toHaveLength(1)
    }
  })

  test('has no row that stands for nothing', () => {
    const used = new Set(combinations(table).flatMap(facts => matchingRows(table, facts)))
    expect(used.size).toBe(table.rows.length)
  })
})

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

describe('what the tables must never say', () => {
  test('below the recovery point nothing is torn, and no gap or overlap ends the log', () => {
    for (const facts of combinations(TABLES['FAULT_CASES'] as AnyTable)) {
      if (facts['aboveRecoveryPoint'] === false) expect(decide(FAULT_CASES, facts as never)).toBe('at-rest')
    }
    for (const facts of combinations(TABLES['BOUNDARY_CASES'] as AnyTable)) {
      if (facts['aboveRecoveryPoint'] === false || facts['clean'] === true) {
        expect(decide(BOUNDARY_CASES, facts as never)).not.toBe('break')
      }
    }
  })

  test('only an empty segment or one below the log start is deleted, unless the log ends before it', () => {
    for (const facts of combinations(TABLES['LOG_CASES'] as AnyTable)) {
      if (decide(LOG_CASES, facts as never) === 'drop') expect(facts['empty']).toBe(true)
    }
    for (const facts of combinations(TABLES['FILE_CASES'] as AnyTable)) {
      const decision = decide(FILE_CASES, facts as never)
      if (facts['kind'] === 'log' && decision === 'delete') expect(facts['belowStart']).toBe(true)
    }
  })

  test('a damaged segment is never appended to', () => {
    expect(decide(MARK_CASES, { damaged: true, endsLog: true })).toBe('quarantine-and-roll')
  })
})
