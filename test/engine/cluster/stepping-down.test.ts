import { expect, test } from 'vitest'
import type { ClusterImage } from '../../../engine/cluster/cluster-image.ts'
import { NO_LEADER } from '../../../engine/cluster/cluster-state.ts'
import type { Check, CommitOutcome, MetadataStore, Write } from '../../../engine/cluster/metadata-store.ts'
import { SteppingDown } from '../../../engine/cluster/stepping-down.ts'

interface Scene {
  readonly isr: readonly number[]
  readonly leader?: number
  readonly live?: readonly number[]
  readonly draining?: readonly number[]
  readonly minInSync?: number
  readonly outcome?: CommitOutcome
}

const PARTITION = { topic: 't', partition: 0, directory: '', slot: 0, slotGeneration: 1 }

function setUp({ isr, leader = 1, live = [1, 2, 3], draining = [], minInSync = 2, outcome }: Scene) {
  const commits: { checks: readonly Check[]; writes: readonly Write[] }[] = []
  const state = { topicId: 'T', partition: 0, replicas: [1, 2, 3], isr, leader, leaderEpoch: 4, version: 9 }
  const image = {
    topics: new Map([['t', { topicId: 'T', config: { 'min.insync.replicas': String(minInSync) } }]]),
    partition: () => state,
    brokers: new Map(live.map(id => [id, {}])),
    draining: new Set(draining),
  }
  const store = {
    commit: async (checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome> => {
      commits.push({ checks, writes })
      return outcome ?? { kind: 'done', version: 10 }
    },
  }
  const steppingDown = new SteppingDown({
    brokerId: 1,
    image: image as unknown as ClusterImage,
    store: store as unknown as MetadataStore,
    report: error => expect.unreachable(error.message),
  })
  return { steppingDown, commits, written: () => commits.map(({ writes: [write] }) => JSON.parse(write?.value ?? '')) }
}

test('a leader whose disk is full goes out of sync, and leads no more', () => {
  const { steppingDown, commits, written } = setUp({ isr: [1, 2, 3] })
  steppingDown.refused(PARTITION, 'DISK_FULL')
  expect(commits[0]?.checks).toEqual([{ key: 'partitions/T/0', version: 9 }])
  expect(written()).toEqual([{ replicas: [1, 2, 3], isr: [2, 3], leader: NO_LEADER, leaderEpoch: 5 }])
})

test('it does so once for many refusals, and again when that came to nothing', async () => {
  const { steppingDown, commits } = setUp({ isr: [1, 2, 3] })
  for (let count = 0; count < 5; count++) steppingDown.refused(PARTITION, 'DISK_FULL')
  await Promise.resolve()
  steppingDown.refused(PARTITION, 'DISK_FULL')
  expect(commits.length).toBe(1)

  const refused = setUp({ isr: [1, 2, 3], outcome: { kind: 'refused', found: [] } })
  refused.steppingDown.refused(PARTITION, 'DISK_FULL')
  await expect
    .poll(() => {
      refused.steppingDown.refused(PARTITION, 'DISK_FULL')
      return refused.commits.length
    })
    .toBeGreaterThan(1)
})

test.for<[string, Scene]>([
  ['it does not lead', { isr: [1, 2, 3], leader: 2 }],
  ['too few others are in sync', { isr: [1, 2] }],
  ['too few others live', { isr: [1, 2, 3], live: [1, 2] }],
  ['the others are about to stop', { isr: [1, 2, 3], draining: [2, 3] }],
])('nothing changes when %s', ([, scene]) => {
  const { steppingDown, commits } = setUp(scene)
  steppingDown.refused(PARTITION, 'DISK_FULL')
  expect(commits).toEqual([])
})

test('a batch that is refused for what it is changes nothing', () => {
  const { steppingDown, commits } = setUp({ isr: [1, 2, 3] })
  steppingDown.refused(PARTITION, 'RECORD_TOO_LARGE')
  steppingDown.refused(PARTITION, 'NOT_ENOUGH_REPLICAS')
  expect(commits).toEqual([])
})

test('a log that has stopped needs one other that lives, in sync', () => {
  const one = setUp({ isr: [1, 2] })
  one.steppingDown.stopped(PARTITION)
  expect(one.written()).toEqual([{ replicas: [1, 2, 3], isr: [2], leader: NO_LEADER, leaderEpoch: 5 }])
  const none = setUp({ isr: [1, 2], live: [1, 3] })
  none.steppingDown.stopped(PARTITION)
  expect(none.commits).toEqual([])
})
