import { expect, test } from 'vitest'
import type { ClusterImage } from '../../../engine/cluster/cluster-image.ts'
import { Membership } from '../../../engine/cluster/membership.ts'
import type { Check, CommitOutcome, MetadataStore, Write } from '../../../engine/cluster/metadata-store.ts'

function setUp() {
  const commits: { checks: readonly Check[]; writes: readonly Write[] }[] = []
  const told: string[] = []
  const reached = Promise.withResolvers<void>()
  const revoked = Promise.withResolvers<void>()
  const store = {
    get: async () => undefined,
    list: async () => ({ entries: [], revision: 1 }),
    commit: async (checks: readonly Check[], writes: readonly Write[]): Promise<CommitOutcome> => {
      commits.push({ checks, writes })
      return { kind: 'done', version: 7 }
    },
    lease: async () => ({ endsAtMs: 9_000, keepAlive: async () => true, revoke: async () => revoked.resolve() }),
  }
  const membership = new Membership({
    brokerId: 1,
    address: { host: 'h', port: 1 },
    machine: { bootId: 'b', directoryId: 'd', isClean: false },
    store: store as unknown as MetadataStore,
    image: { reach: () => reached.promise } as unknown as ClusterImage,
    leaseMs: 2_000,
    extended: endsAtMs => told.push(`until ${endsAtMs}`),
    registered: epoch => told.push(`registered ${epoch}`),
    lost: () => told.push('lost'),
    report: error => told.push(error.code),
  })
  return { membership, commits, told, reached, revoked }
}

test('a broker takes no part before its image knows of its registration', async () => {
  const { membership, commits, told, reached } = setUp()
  const starting = membership.start(0)
  await expect.poll(() => commits.length).toBe(1)
  // The image may still say that it leads what others lead by now.
  expect([membership.epoch, membership.lease, told]).toEqual([undefined, undefined, []])
  reached.resolve()
  await starting
  expect([membership.epoch, told]).toEqual([7, ['until 9000', 'registered 7']])
  await membership.close()
})

test('a registration that the image does not get to know is given back', async () => {
  const { membership, commits, reached, revoked } = setUp()
  const starting = membership.start(-1)
  await expect.poll(() => commits.length).toBe(1)
  reached.reject(new Error('never'))
  await expect(starting).rejects.toThrow('never')
  await revoked.promise
  expect(membership.epoch).toBe(undefined)
})

test('that everything is flushed is said of the registration that it was flushed under', async () => {
  const { membership, commits, reached } = setUp()
  reached.resolve()
  await membership.start(0)
  await membership.leaveClean()
  expect(commits.at(-1)).toEqual({
    checks: [{ key: 'brokers/1', version: 7 }],
    writes: [{ key: 'machines/1', value: '{"bootId":"b","directoryId":"d","isClean":true}' }],
  })
  await membership.close()
})
