import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Arrivals } from '../../../engine/broker/arrivals.ts'
import type { PartitionLocation } from '../../../engine/log/partition-reader.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { createEngineMemory, EngineMemory } from '../../../engine/memory/engine-memory.ts'

const WAIT_MS = 30
const location = (slot: number): PartitionLocation => ({ slot }) as PartitionLocation

let directory: string
let memory: EngineMemory
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-arrivals-'))
  memory = new EngineMemory(createEngineMemory(directory))
})
afterEach(() => {
  memory.markClosed()
  rmSync(directory, { recursive: true })
})

function append(slot: number, end: number): void {
  memory.control.set(slot, SLOT.logEndOffset, end)
  memory.notifyReaders(slot)
}

test('a wait that ends without news tells nobody; news are told, also those of before', async () => {
  const arrivals = new Arrivals(memory, WAIT_MS)
  let calls = 0
  arrivals.watch(location(3), 0, () => calls++)
  await sleep(10 * WAIT_MS)
  expect(calls).toBe(0)
  append(3, 1)
  await expect.poll(() => calls).toBe(1)
  memory.control.set(3, SLOT.highWatermark, 1) // by whom nobody is notified
  await expect.poll(() => calls).toBe(2)
  let late = 0
  arrivals.watch(location(3), 0, () => late++)
  await expect.poll(() => late).toBe(1)
})

test('who does not watch any more is not told', async () => {
  const arrivals = new Arrivals(memory, WAIT_MS)
  let calls = 0
  const listener = (): void => {
    calls++
  }
  for (let slot = 0; slot < 100; slot++) arrivals.watch(location(slot), 0, listener)
  for (let slot = 0; slot < 100; slot++) arrivals.unwatch(location(slot), listener)
  append(7, 1)
  await sleep(10 * WAIT_MS)
  expect(calls).toBe(0)
})
