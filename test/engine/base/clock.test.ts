import { describe, expect, test } from 'vitest'
import { ManualClock, systemClock } from '../../../engine/base/clock.ts'

describe('clocks', () => {
  test('a manual clock moves only when told, both times together', () => {
    const clock = new ManualClock(1000)
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1000, 0])
    clock.advance(250)
    clock.advance(1)
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1251, 251])
    expect(new ManualClock().nowMs()).toBe(0)
  })

  test('the system clock tells the time and never goes back', () => {
    const before = Date.now()
    const now = systemClock.nowMs()
    expect(now).toBeGreaterThanOrEqual(before)
    expect(now).toBeLessThanOrEqual(Date.now())
    let last = systemClock.monotonicMs()
    for (let i = 0; i < 10_000; i++) {
      const next = systemClock.monotonicMs()
      if (next < last) expect.fail(`${next} after ${last}`)
      last = next
    }
  })
})
