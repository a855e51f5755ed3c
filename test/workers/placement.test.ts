/** A writer's place: it leaves the processor of its producer, for a while, and only while there is another. */
import { afterEach, expect, test } from 'vitest'
import { allowCpus, allowedCpus, currentCpu } from '../../engine/memory/libc.ts'
import { Placement } from '../../workers/placement.ts'

const allowed = allowedCpus()
const count = allowed.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
const same = (set: Uint8Array): boolean => Buffer.compare(allowed, set) === 0

afterEach(() => {
  allowCpus(allowed)
})

test.skipIf(count < 2)(
  'it leaves when the two meet, and may go anywhere again when they have not met for a while',
  () => {
    const placement = new Placement()
    const producerCpu = currentCpu()
    placement.keepApart(producerCpu, 1_000)
    expect(currentCpu()).not.toBe(producerCpu)
    expect(same(allowedCpus())).toBe(false)
    placement.keepApart(producerCpu, 1_100) // not met
    placement.relax(1_499)
    expect(same(allowedCpus())).toBe(false)
    placement.relax(1_501)
    expect(same(allowedCpus())).toBe(true)
  },
)

test.skipIf(count < 2)('it looks a few times a millisecond, not with every pass', () => {
  const placement = new Placement()
  placement.keepApart(-1, 1_000)
  placement.keepApart(currentCpu(), 1_000.1)
  expect(same(allowedCpus())).toBe(true)
  placement.keepApart(currentCpu(), 1_000.3)
  expect(same(allowedCpus())).toBe(false)
})

test('where there is no other processor, or none that is known, it stays', () => {
  const one = new Uint8Array(allowed.length)
  const cpu = currentCpu()
  if (cpu >= 0) one[cpu >> 3] = 1 << (cpu & 7)
  allowCpus(one)
  const placement = new Placement()
  placement.keepApart(cpu, 1_000)
  placement.keepApart(1_000_000, 2_000)
  placement.relax(10_000)
  expect(allowedCpus()).toEqual(one)
  expect(currentCpu()).toBe(cpu)
})
