import { describe, expect, test } from 'vitest'
import { decide } from '../../../engine/base/case-table.ts'
import {
  BOUNDARY_CASES,
  DEPTH_CASES,
  FAULT_CASES,
  FILE_CASES,
  INDEX_CASES,
  LOG_CASES,
  MARK_CASES,
  OPEN_CASES,
} from '../../../engine/log/recovery-cases.ts'
import { combinations, describeTables } from '../base/case-tables.ts'

describeTables({
  OPEN_CASES,
  FILE_CASES,
  DEPTH_CASES,
  FAULT_CASES,
  BOUNDARY_CASES,
  LOG_CASES,
  MARK_CASES,
  INDEX_CASES,
})

describe('what the tables must never say', () => {
  test('below the recovery point nothing is torn, and no gap or overlap ends the log', () => {
    for (const facts of combinations(FAULT_CASES)) {
      if (facts.aboveRecoveryPoint === false) expect(decide(FAULT_CASES, facts)).toBe('at-rest')
    }
    for (const facts of combinations(BOUNDARY_CASES)) {
      if (facts.aboveRecoveryPoint === false || facts.clean === true) {
        expect(decide(BOUNDARY_CASES, facts)).not.toBe('break')
      }
    }
  })

  test('only an empty segment or one below the log start is deleted, unless the log ends before it', () => {
    for (const facts of combinations(LOG_CASES)) {
      if (decide(LOG_CASES, facts) === 'drop') expect(facts.empty).toBe(true)
    }
    for (const facts of combinations(FILE_CASES)) {
      const decision = decide(FILE_CASES, facts)
      if (facts.kind === 'log' && decision === 'delete') expect(facts.belowStart).toBe(true)
    }
  })

  test('a damaged segment is never appended to', () => {
    expect(decide(MARK_CASES, { damaged: true, endsLog: true })).toBe('quarantine-and-roll')
  })
})
