import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EtcdMetadata } from '../../../engine/cluster/etcd-metadata.ts'
import { LmdbMetadata } from '../../../engine/cluster/lmdb-metadata.ts'
import { type Change, type MetadataStore, OPERATIONS_MAX } from '../../../engine/cluster/metadata-store.ts'
import { bootTimeMs } from '../../../engine/memory/libc.ts'
import { Etcd, etcdBinary } from './etcd.ts'

const LEASE_MS = 2_000

interface Kind {
  readonly name: string
  start(directory: string): Promise<{ open: () => Promise<MetadataStore>; stop: () => Promise<void> }>
}

const KINDS: Kind[] = [
  {
    name: 'lmdb',
    start: async directory => ({
      open: () => LmdbMetadata.open({ directory, bootId: 'one' }),
      stop: async () => {},
    }),
  },
]
if (etcdBinary !== undefined) {
  KINDS.push({
    name: 'etcd',
    start: async directory => {
      const etcd = await Etcd.start(directory)
      return { open: async () => new EtcdMetadata({ hosts: [etcd.host] }), stop: () => etcd.stop() }
    },
  })
}

/** What a watch told, in order. */
class Told {
  readonly changes: Change[] = []
  readonly revisions: { revision: number; keys: string[] }[] = []
  lostTimes = 0
  changed(changes: readonly Change[], revision: number): void {
    this.changes.push(...changes)
    this.revisions.push({ revision, keys: changes.map(({ key }) => key) })
  }
  lost(): void {
    this.lostTimes++
  }
  async until(count: number): Promise<void> {
    const deadline = Date.now() + 5_000
    while (this.changes.length < count) {
      if (Date.now() > deadline) throw new Error(`told of ${this.changes.length} changes in place of ${count}`)
      await sleep(2)
    }
  }
}

describe.for(KINDS)('metadata store: $name', kind => {
  let directory: string
  let service: Awaited<ReturnType<Kind['start']>>
  let one: MetadataStore
  let two: MetadataStore

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-metadata-'))
    service = await kind.start(directory)
    one = await service.open()
    two = await service.open()
  })
  afterAll(async () => {
    await one?.close()
    await two?.close()
    await service?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  const put = async (key: string, value: string): Promise<number> => {
    const outcome = await one.commit([], [{ key, value }])
    if (outcome.kind !== 'done') throw new Error(outcome.kind)
    return outcome.version
  }

  test('what one wrote the other reads at once', async () => {
    expect(await two.get('read/a')).toBeUndefined()
    const version = await put('read/a', 'ä1')
    expect(await two.get('read/a')).toEqual({ key: 'read/a', value: 'ä1', version })
    expect(await put('read/a', '2')).toBeGreaterThan(version)
    expect((await two.get('read/a'))?.value).toBe('2')
  })

  test('a list has the keys of its prefix in order, and no others', async () => {
    for (const key of ['list/b', 'list/a', 'list/a/1', 'lisu', 'lis', 'list0']) await put(key, key)
    const { entries, revision } = await two.list('list/')
    expect(entries.map(({ key }) => key)).toEqual(['list/a', 'list/a/1', 'list/b'])
    expect(revision).toBeGreaterThanOrEqual(Math.max(...entries.map(({ version }) => version)))
  })

  test('a commit writes all or nothing', async () => {
    const version = await put('cas/a', '1')
    const both = [
      { key: 'cas/a', value: '2' },
      { key: 'cas/b', value: '2' },
    ]
    const stale = [{ key: 'cas/a', version: version - 1 }]
    expect(await two.commit(stale, both)).toEqual({ kind: 'refused', found: [{ key: 'cas/a', value: '1', version }] })
    expect(await two.commit([{ key: 'cas/b', version: 7 }], both)).toEqual({ kind: 'refused', found: [] })
    expect(await one.get('cas/b')).toBeUndefined()
    const checks = [
      { key: 'cas/a', version },
      { key: 'cas/b', version: 0 },
    ]
    const outcome = await two.commit(checks, both)
    expect(outcome.kind).toBe('done')
    const { entries } = await one.list('cas/')
    expect(entries.map(({ value }) => value)).toEqual(['2', '2'])
    expect(new Set(entries.map(({ version }) => version)).size).toBe(1)
    expect((await two.commit(checks, both)).kind).toBe('refused')
    await one.commit([], [{ key: 'cas/a', value: undefined }])
    expect(await two.get('cas/a')).toBeUndefined()
    expect((await two.commit([{ key: 'cas/a', version: 0 }], [{ key: 'cas/a', value: '3' }])).kind).toBe('done')
  })

  test('of many who count at once, nobody loses a step', async () => {
    await put('count', '0')
    const step = async (store: MetadataStore): Promise<void> => {
      for (;;) {
        const found = await store.get('count')
        const check = { key: 'count', version: found?.version ?? 0 }
        const outcome = await store.commit([check], [{ key: 'count', value: String(Number(found?.value) + 1) }])
        if (outcome.kind === 'done') return
        expect(outcome.kind).toBe('refused')
      }
    }
    await Promise.all(Array.from({ length: 20 }, (_, index) => step(index % 2 === 0 ? one : two)))
    expect((await one.get('count'))?.value).toBe('20')
  })

  test('the limit of operations is taken, and one more refused', async () => {
    const writes = Array.from({ length: OPERATIONS_MAX }, (_, index) => ({ key: `many/${index}`, value: 'x' }))
    expect((await one.commit([], writes)).kind).toBe('done')
    expect((await two.list('many/')).entries).toHaveLength(OPERATIONS_MAX)
    await expect(one.commit([{ key: 'a', version: 0 }], writes)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const twice = [...writes.slice(0, 2), ...writes.slice(0, 1)]
    await expect(one.commit([], twice)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('a watch tells of each change after its revision, whoever made it, in order', async () => {
    await put('watch/old', '0')
    const { revision } = await two.list('watch/')
    const told = new Told()
    await put('watch/a', '1')
    const watch = two.watch('watch/', revision, told)
    await put('watched-not', 'x')
    await one.commit(
      [],
      [
        { key: 'watch/b', value: '2' },
        { key: 'watch/old', value: undefined },
      ],
    )
    for (let index = 0; index < 20; index++) await put('watch/c', String(index))
    await told.until(23)
    expect(told.changes.slice(0, 1)).toMatchObject([{ key: 'watch/a', value: '1' }])
    expect(told.revisions[1]?.keys.sort()).toEqual(['watch/b', 'watch/old'])
    expect(told.changes.find(({ key }) => key === 'watch/old')?.value).toBeUndefined()
    expect(told.changes.slice(3).map(({ value }) => value)).toEqual(
      Array.from({ length: 20 }, (_, index) => String(index)),
    )
    const revisions = told.revisions.map(one => one.revision)
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b))
    watch.stop()
    await put('watch/a', '9')
    await sleep(300)
    expect(told.changes).toHaveLength(23)
    expect(told.lostTimes).toBe(0)
  })

  test('a lease that is kept holds its keys, and one that is not loses them', async () => {
    const lease = await one.lease(LEASE_MS)
    const started = bootTimeMs()
    expect(lease.endsAtMs).toBeGreaterThan(started + LEASE_MS / 2)
    expect(lease.endsAtMs).toBeLessThan(started + LEASE_MS)
    const { revision } = await two.list('lease/')
    const told = new Told()
    two.watch('lease/', revision, told)
    await one.commit([], [{ key: 'lease/a', value: 'here', lease }])
    while (bootTimeMs() < started + 2 * LEASE_MS) {
      await sleep(LEASE_MS / 4)
      expect(await lease.keepAlive()).toBe(true)
    }
    expect((await two.get('lease/a'))?.value).toBe('here')
    const end = lease.endsAtMs
    await told.until(2)
    // It was over for the holder before its key went.
    expect(bootTimeMs()).toBeGreaterThan(end)
    expect(bootTimeMs()).toBeLessThan(end + 3_000)
    expect(await two.get('lease/a')).toBeUndefined()
    expect(told.changes[1]).toMatchObject({ key: 'lease/a', value: undefined })
    expect(await lease.keepAlive()).toBe(false)
    await expect(one.commit([], [{ key: 'lease/a', value: 'again', lease }])).rejects.toMatchObject({
      code: 'LEASE_LOST',
    })
    expect(await two.get('lease/a')).toBeUndefined()
  })

  test('a lease that is given back takes its keys at once, but not what was written since without it', async () => {
    const lease = await two.lease(60_000)
    const writes = ['revoke/a', 'revoke/b'].map(key => ({ key, value: '1', lease }))
    await two.commit([], writes)
    await put('revoke/b', 'mine')
    await lease.revoke()
    expect(lease.endsAtMs).toBeLessThan(bootTimeMs())
    expect((await one.list('revoke/')).entries.map(({ key }) => key)).toEqual(['revoke/b'])
    expect(await lease.keepAlive()).toBe(false)
  })

  test('a closed store says so', async () => {
    const three = await service.open()
    await three.close()
    await three.close()
    await expect(three.get('a')).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(three.commit([], [{ key: 'a', value: '1' }])).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
