/** A writer's side of the service rings: no order is lost or overtaken when a ring is full, and which flushes stay here. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../engine/base/clock.ts'
import type { WriterStart } from '../../engine/log/mail.ts'
import { createEngineMemory, EngineMemory } from '../../engine/memory/engine-memory.ts'
import { ORDER, type ServiceMessage, serviceEnd, serviceRingBuffer } from '../../engine/memory/service-ring.ts'
import { WriterServices } from '../../workers/writer-services.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-orders-'))
const memory = new EngineMemory(createEngineMemory(folder))
afterAll(() => {
  memory.release()
  rmSync(folder, { recursive: true, force: true })
})

let services: WriterServices
let flusher: ReturnType<typeof serviceEnd>
let janitor: ReturnType<typeof serviceEnd>
beforeEach(() => {
  const [flusherRing, janitorRing] = [serviceRingBuffer(), serviceRingBuffer()]
  services = new WriterServices({ flusherRing, janitorRing } as WriterStart, memory, error =>
    expect.fail(String(error)),
  )
  flusher = serviceEnd(flusherRing)
  janitor = serviceEnd(janitorRing)
})

function taken(end: ReturnType<typeof serviceEnd>, most = Number.POSITIVE_INFINITY): ServiceMessage[] {
  const messages: ServiceMessage[] = []
  while (messages.length < most) {
    const message = end.orders.shift()
    if (message === undefined) break
    messages.push(message)
  }
  return messages
}

const SEALED = { fd: 7, finalBytes: 100, address: 2 ** 46, mappedBytes: 65_536 }

test('orders say what the services need, addresses beyond 32 bits included', () => {
  services.allocate(3, 5, 4_096, 2 ** 31 - 1, 2 ** 46 + 4_096, true)
  services.seal(3, SEALED)
  services.remove(3, 2 ** 40)
  expect(taken(janitor)).toMatchObject([
    { kind: ORDER.allocate, slot: 3, fd: 5, status: 1, a: 4_096, b: 2 ** 31 - 1, c: 2 ** 46 + 4_096 },
    { kind: ORDER.remove, slot: 3, a: 2 ** 40 },
  ])
  expect(taken(flusher)).toMatchObject([{ kind: ORDER.seal, slot: 3, fd: 7, a: 100, b: 2 ** 46, c: 65_536 }])
})

test('what finds its ring full is kept and goes later, in order', () => {
  const count = 10_000
  for (let i = 0; i < count; i++) services.remove(1, i)
  expect(services.hasBacklog).toBe(true)
  services.seal(1, SEALED) // the other ring has room, but nothing overtakes
  expect(taken(flusher)).toEqual([])
  const removed: number[] = []
  for (let tried = 0; services.hasBacklog; tried++) {
    removed.push(...taken(janitor, 1_000).map(({ a }) => a))
    expect(services.pushBacklog()).toBe(true)
    expect(tried).toBeLessThan(20)
  }
  removed.push(...taken(janitor).map(({ a }) => a))
  expect(removed).toEqual(Array.from({ length: count }, (_, i) => i))
  expect(taken(flusher)).toMatchObject([{ kind: ORDER.seal }])
  expect(services.pushBacklog()).toBe(false)
})

/** Says that flushes have taken no time lately. */
function quickDisk(): void {
  for (let i = 0; i < 100; i++) services.noteFlush(systemClock.monotonicMs())
}

test('a flush stays here when the disk is quick and only durable partitions are busy', () => {
  services.flush(1, 5, 10, 0)
  expect(taken(flusher)).toMatchObject([{ kind: ORDER.flush, slot: 1, fd: 5, a: 10, b: 0 }])
  services.flush(1, 5, 20, 0)
  expect([taken(flusher).length, services.hasKept]).toEqual([1, false]) // how quick the disk is was not known yet
  quickDisk()
  services.flush(1, 5, 30, 0)
  services.flush(1, 5, 30, 0)
  expect([taken(flusher).length, services.hasKept]).toEqual([0, true])
  expect(services.takeKept()).toEqual([1])
  expect(services.hasKept).toBe(false)
})

test('the first flush of every file is handed over, because the folder is flushed with it', () => {
  quickDisk()
  for (const [offset, baseOffset] of [
    [10, 0],
    [20, 15],
  ] as const) {
    services.flush(1, 5, offset, baseOffset)
    expect(taken(flusher)).toMatchObject([{ a: offset, b: baseOffset }])
    services.flush(1, 5, offset + 1, baseOffset)
    expect(services.takeKept()).toEqual([1])
  }
  services.flush(1, 5, 30, 15)
  services.forget(1) // the partition went; what comes in its slot is another
  expect(services.takeKept()).toEqual([])
  services.flush(1, 5, 40, 15)
  expect(taken(flusher)).toHaveLength(1)
})

test('while partitions are busy that do not wait for flushes, none is done here', () => {
  quickDisk()
  services.flush(1, 5, 10, 0)
  services.noteOther(systemClock.monotonicMs())
  services.flush(1, 5, 20, 0)
  expect([taken(flusher).length, services.hasKept]).toEqual([2, false])
})

test('a slow disk is noticed', () => {
  quickDisk()
  services.flush(1, 5, 10, 0)
  for (let i = 0; i < 10; i++) services.noteFlush(systemClock.monotonicMs() - 50)
  services.flush(1, 5, 20, 0)
  expect([taken(flusher).length, services.hasKept]).toEqual([2, false])
})

test('replies of both services are taken', () => {
  const reply = { kind: ORDER.seal, slot: 1, slotGeneration: 1, fd: 5, status: 0, a: 1, b: 0, c: 1 }
  expect([services.repliesWaiting, services.shiftReply()]).toEqual([false, undefined])
  janitor.replies.push({ ...reply, kind: ORDER.allocate })
  flusher.replies.push(reply)
  expect(services.repliesWaiting).toBe(true)
  const kinds = [services.shiftReply(), services.shiftReply(), services.shiftReply()].map(message => message?.kind)
  expect(kinds.sort()).toEqual([ORDER.allocate, ORDER.seal, undefined].sort())
})
