import { describe, expect, test } from 'vitest'
import { decide } from '../../../../engine/base/case-table.ts'
import {
  ACCEPT_CASES,
  COMMIT_CASES,
  HEARTBEAT_CASES,
  JOIN_CASES,
  STATIC_CASES,
  SYNC_CASES,
} from '../../../../engine/group/classic/cases.ts'
import { combinations, describeTables } from '../../base/case-tables.ts'

describeTables({ ACCEPT_CASES, COMMIT_CASES, HEARTBEAT_CASES, JOIN_CASES, STATIC_CASES, SYNC_CASES })

describe('what the tables must never say', () => {
  test('somebody without membership commits into a group with members', () => {
    for (const facts of combinations(COMMIT_CASES)) {
      if (facts.state !== 'empty') expect(decide(COMMIT_CASES, facts)).not.toBe('accept')
    }
  })

  test('a member takes a place over without a rebalance while places are being dealt out', () => {
    for (const facts of combinations(STATIC_CASES)) {
      if (facts.state !== 'stable') expect(decide(STATIC_CASES, facts)).not.toBe('take-over')
    }
  })
})
