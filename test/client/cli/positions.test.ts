import { describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/cli/failure.ts'
import { parsePosition, parseTime, resolvePosition } from '../../../client/cli/positions.ts'
import type { Lookup } from '../../../client/lookup.ts'

test('positions', () => {
  expect(parsePosition('start', '--from')).toEqual({ kind: 'start' })
  expect(parsePosition('end', '--from')).toEqual({ kind: 'end' })
  expect(parsePosition('0', '--from')).toEqual({ kind: 'offset', offset: 0 })
  expect(parsePosition('9007199254740991', '--from')).toEqual({ kind: 'offset', offset: Number.MAX_SAFE_INTEGER })
  expect(parsePosition('-10', '--from')).toEqual({ kind: 'before-end', offsets: 10 })
  expect(parsePosition('-0', '--from')).toEqual({ kind: 'before-end', offsets: 0 })
  expect(parsePosition('@77', '--from')).toEqual({ kind: 'time', timestamp: 77 })
  for (const text of ['', 'middle', '1.5', '1e3', '--1', '+1', '9007199254740992', 'START', '@', '@-1w', ' 1']) {
    expect(() => parsePosition(text, '--from'), text).toThrow(UsageError)
  }
})

test('times', () => {
  expect(parseTime('2026-01-31T12:00:00Z')).toBe(Date.UTC(2026, 0, 31, 12))
  expect(parseTime('2026-01-31')).toBe(Date.UTC(2026, 0, 31))
  for (const [text, ms] of Object.entries({ '-90s': 90_000, '-15m': 900_000, '-2h': 7_200_000, '-7d': 604_800_000 })) {
    expect(Date.now() - ms - parseTime(text), text).toBeLessThan(10_000)
    expect(Date.now() - ms - parseTime(text), text).toBeGreaterThanOrEqual(0)
  }
  expect([parseTime('2026'), parseTime('-1')]).toEqual([2026, -1]) // milliseconds
  for (const text of ['noon', '12:00', '-1y', '2026-13-45', '']) {
    expect(() => parseTime(text), text).toThrow(UsageError)
  }
})

describe('in a partition', () => {
  const lookup = {
    earliest: () => 10,
    latest: () => 50,
    byTimestamp: (_: number, timestamp: number) => (timestamp > 1_000 ? undefined : { offset: 33 }),
  } as unknown as Lookup

  test('offsets are clamped where others are read too, and not where it is the only one', () => {
    const at = (text: string, isOnly: boolean): number =>
      resolvePosition(parsePosition(text, '--from'), lookup, 0, isOnly)
    expect(['start', 'end', '-5', '-500', '@1000', '@1001', '20'].map(text => at(text, false))).toEqual([
      ...[10, 50, 45, 10, 33, 50, 20],
    ])
    expect(['3', '99'].map(text => at(text, false))).toEqual([10, 50])
    expect(['3', '99'].map(text => at(text, true))).toEqual([3, 99])
  })
})
