import fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import { testSeed } from '../../../engine/base/random.ts'
import {
  ORDER,
  type ServiceMessage,
  serviceEnd,
  serviceRingBuffer,
  writerServiceEnd,
} from '../../../engine/memory/service-ring.ts'
import { serviceMessage } from './service-message.ts'
import type { ServiceReport, ServiceThread } from './service-thread.ts'
import { printSeed, runThreads } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

/** Sets the counters of both directions, as after so many messages. */
function ringAt(start: number): SharedArrayBuffer {
  const buffer = serviceRingBuffer()
  for (const at of [0, buffer.byteLength / 2]) {
    const words = new Int32Array(buffer, at)
    words[0] = words[16] = start
  }
  return buffer
}

const word = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff })
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(0, -1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_f000),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, -0x1_0000_0000, -0x8000_0001),
)
const message: fc.Arbitrary<ServiceMessage> = fc.record({
  kind: fc.constantFrom(...Object.values(ORDER)),
  slot: fc.nat({ max: 16_383 }),
  slotGeneration: word,
  fd: word,
  status: fc.nat({ max: 1_000 }),
  a: number,
  b: number,
  c: number,
})

test('orders and replies arrive as they were given, numbers up to 2^53 included', () => {
  const buffer = serviceRingBuffer()
  const writer = writerServiceEnd(buffer)
  const service = serviceEnd(buffer)
  fc.assert(
    fc.property(fc.array(message, { maxLength: 20 }), fc.array(message, { maxLength: 20 }), (down, up) => {
      for (const order of down) expect(writer.orders.push(order)).toBe(true)
      for (const reply of up) expect(service.replies.push(reply)).toBe(true)
      expect([service.orders.waiting, writer.replies.waiting]).toEqual([down.length > 0, up.length > 0])
      expect(down.map(() => service.orders.shift())).toEqual(down)
      expect(up.map(() => writer.replies.shift())).toEqual(up)
      expect([service.orders.shift(), writer.replies.shift()]).toEqual([undefined, undefined])
      expect([service.orders.waiting, writer.replies.waiting]).toEqual([false, false])
    }),
    { numRuns: 300 },
  )
})

test('a full ring refuses, and goes on where it stopped', () => {
  const buffer = ringAt(-3)
  const writer = writerServiceEnd(buffer)
  const service = serviceEnd(buffer)
  let pushed = 0
  while (writer.orders.push(serviceMessage(pushed))) pushed += 1
  expect(pushed).toBe(4_096)
  expect(service.orders.shift()).toEqual(serviceMessage(0))
  expect(writer.orders.push(serviceMessage(pushed))).toBe(true)
  expect(writer.orders.push(serviceMessage(pushed + 1))).toBe(false)
  for (let index = 1; index <= pushed; index++) expect(service.orders.shift()).toEqual(serviceMessage(index))
  expect(service.orders.waiting).toBe(false)
})

test('what a dead writer ordered is still there for the service', () => {
  const buffer = serviceRingBuffer()
  const dead = writerServiceEnd(buffer)
  const service = serviceEnd(buffer)
  for (let order = 0; order < 3; order++) dead.orders.push(serviceMessage(order))
  expect(service.orders.shift()).toEqual(serviceMessage(0))
  // An end that is made anew goes on where the last one stood.
  const again = serviceEnd(buffer)
  expect([again.orders.shift(), again.orders.shift(), again.orders.shift()]).toEqual([
    serviceMessage(1),
    serviceMessage(2),
    undefined,
  ])
})

test.each([
  ['at their own pace', 0, 0],
  ['with a slow service', 0, 10],
  ['with a slow writer', 10, 0],
])('across threads every order is answered once and in order, %s', async (_, writerDawdles, serviceDawdles) => {
  const messages = 200_000
  const start = -messages / 2
  const ring = ringAt(start)
  const shared = { ring, cells: new SharedArrayBuffer(128), messages }
  const writer: ServiceThread = { ...shared, role: 'writer', dawdleEvery: writerDawdles, seed }
  const service: ServiceThread = { ...shared, role: 'service', dawdleEvery: serviceDawdles, seed: seed + 1 }
  const reports = await runThreads<ServiceReport>('service-thread.ts', [writer, service])
  expect(
    reports.map(report => report.messages),
    seedText,
  ).toEqual([messages, messages])
  expect(
    reports.map(report => report.lostWakeUps),
    seedText,
  ).toEqual([0, 0])
  if (serviceDawdles > 0) expect(reports[0]?.full).toBeGreaterThan(0)
})
