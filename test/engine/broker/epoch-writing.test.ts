import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EpochWriting } from '../../../engine/broker/epoch-writing.ts'
import type { HostedPartition } from '../../../engine/broker/hosted-partition.ts'
import {
  type EpochFile,
  readEpochCheckpoint,
  writeEpochCheckpoints,
} from '../../../engine/log/epoch-checkpoint-file.ts'
import { SYNC_TOGETHER_MIN } from '../../../engine/log/sync-files.ts'
import { ControlBlock, SLOT } from '../../../engine/memory/control-block.ts'

const PARTITIONS = SYNC_TOGETHER_MIN + 3

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-epochs-'))
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(directory, { recursive: true })
})

function setUp() {
  const control = new ControlBlock(new BigInt64Array(PARTITIONS * SLOT.words))
  const writes: number[] = []
  let isClosing = false
  const writing = new EpochWriting({
    control,
    write: async (files: readonly EpochFile[]) => {
      writes.push(files.length)
      writeEpochCheckpoints(files)
    },
    apart: work => (isClosing ? Promise.reject(new Error('closing')) : work()),
  })
  const partitions = Array.from({ length: PARTITIONS }, (_, slot) => {
    const place = join(directory, String(slot))
    mkdirSync(place)
    const epochs = [{ epoch: slot, startOffset: 0 }]
    return { slot, slotGeneration: 0, directory: place, epochs, failure: undefined } as unknown as HostedPartition
  })
  const close = (): void => {
    isClosing = true
  }
  return { control, writes, writing, partitions, close }
}

const written = ({ directory: place }: HostedPartition) => readEpochCheckpoint(place)
const sound = ({ epochs }: HostedPartition) => ({ state: 'sound', entries: epochs })

test.each([1, PARTITIONS])('%d files are written at one go, a second after the first was due', async count => {
  const { writing, writes, partitions } = setUp()
  const due = partitions.slice(0, count)
  for (const partition of due) writing.add(partition)
  await vi.advanceTimersByTimeAsync(900)
  expect(writes).toEqual([])
  await vi.advanceTimersByTimeAsync(200)
  expect(writes).toEqual([count])
  for (const partition of due) expect(written(partition)).toEqual(sound(partition))
  const [again] = partitions as [HostedPartition]
  again.epochs = [...again.epochs, { epoch: 9, startOffset: 5 }]
  writing.add(again)
  await vi.advanceTimersByTimeAsync(1_100)
  expect(written(again)).toEqual(sound(again))
})

test('a folder that is gone keeps no other file from being written', async () => {
  const { writing, partitions } = setUp()
  const [gone, ...others] = partitions as [HostedPartition, ...HostedPartition[]]
  rmSync(gone.directory, { recursive: true })
  for (const partition of partitions) writing.add(partition)
  await writing.settle()
  for (const partition of others) expect(written(partition)).toEqual(sound(partition))
})

test('nothing is written for a slot that is another partition’s by now, or whose log is being recovered', async () => {
  const { writing, writes, control, partitions } = setUp()
  const [other, failed] = partitions as [HostedPartition, HostedPartition]
  control.set(other.slot, SLOT.slotGeneration, 1)
  failed.failure = new Error('recovery') as never
  writing.add(other)
  writing.add(failed)
  await writing.settle()
  expect(writes).toEqual([])
})

test('what was due when the engine began to close is written before it has closed', async () => {
  const { writing, partitions, close } = setUp()
  const [one] = partitions as [HostedPartition]
  writing.add(one)
  close()
  await vi.advanceTimersByTimeAsync(1_100)
  expect(written(one).state).toBe('missing')
  await writing.settle()
  expect(written(one)).toEqual(sound(one))
})
