import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Etcd3 } from 'etcd3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EtcdMetadata } from '../../../engine/cluster/etcd-metadata.ts'
import { Etcd, etcdBinary } from './etcd.ts'

describe.skipIf(etcdBinary === undefined)('etcd as the metadata store', () => {
  let directory: string
  let etcd: Etcd
  let store: EtcdMetadata
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-etcd-'))
    etcd = await Etcd.start(directory)
    store = new EtcdMetadata({ hosts: [etcd.host], timeoutMs: 1_000 })
  })
  afterAll(async () => {
    await store?.close()
    await etcd?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  test('while it is down a commit is undecided and a read fails; afterwards watches go on where they were', async () => {
    const values: (string | undefined)[] = []
    let lost = 0
    await store.commit([], [{ key: 'down/a', value: '1' }])
    const { revision } = await store.list('down/')
    store.watch('down/', revision, {
      changed: some => values.push(...some.map(({ value }) => value)),
      lost: () => lost++,
    })
    await store.commit([], [{ key: 'down/a', value: '2' }])
    await etcd.stop()
    const started = performance.now()
    expect(await store.commit([], [{ key: 'down/a', value: '3' }])).toEqual({ kind: 'undecided' })
    await expect(store.get('down/a')).rejects.toMatchObject({ code: 'METADATA_STORE_UNAVAILABLE' })
    await expect(store.lease(2_000)).rejects.toMatchObject({ code: 'METADATA_STORE_UNAVAILABLE' })
    expect(performance.now() - started).toBeLessThan(5_000)
    await sleep(1_500)
    await etcd.start()
    const deadline = performance.now() + 10_000
    const restartedAt = performance.now()
    let back: string | undefined
    while (back === undefined && performance.now() < deadline) {
      back = (await store.get('down/a').catch(() => undefined))?.value
    }
    expect(back).toBe('2')
    expect(performance.now() - restartedAt).toBeLessThan(3_000)
    const other = new EtcdMetadata({ hosts: [etcd.host] })
    await other.commit([], [{ key: 'down/a', value: '4' }])
    while (values.length < 2 && performance.now() < deadline) await sleep(5)
    expect(values).toEqual(['2', '4'])
    expect(lost).toBe(0)
    await other.close()
  }, 60_000)

  test('a watch from before a compaction is told that the past is gone', async () => {
    for (let index = 0; index < 5; index++) await store.commit([], [{ key: 'compact/a', value: String(index) }])
    const { revision } = await store.list('compact/')
    const client = new Etcd3({ hosts: etcd.host })
    await client.kv.compact({ revision: String(revision) })
    client.close()
    const told = { lost: 0, changed: 0 }
    store.watch('compact/', revision - 4, { changed: () => told.changed++, lost: () => told.lost++ })
    const deadline = performance.now() + 5_000
    while (told.lost === 0 && performance.now() < deadline) await sleep(5)
    expect(told).toEqual({ lost: 1, changed: 0 })
  })

  test('keys stand under the prefix of the cluster, as text that etcdctl shows', async () => {
    await store.commit([], [{ key: 'topics/a', value: '{}' }])
    const client = new Etcd3({ hosts: etcd.host })
    expect(await client.get('millrace/topics/a').string()).toBe('{}')
    client.close()
    const other = new EtcdMetadata({ hosts: [etcd.host], prefix: 'other/' })
    expect((await other.list('')).entries).toEqual([])
    await other.close()
  })
})
