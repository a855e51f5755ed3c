import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openMetadata } from '../../../engine/cluster/open-metadata.ts'

const bootId = 'one'

test.for(['', 'lmdb:', 'etcd://', 'etcd://host', 'etcd://a:1,b', 'etcd://a:1,', 'zk://a:1', '/a/b'])(
  'an address that is none is refused: "%s"',
  async address => {
    await expect(openMetadata({ address, bootId })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  },
)

test.for(['etcd://a:1', 'etcd://a.b:2379,[::1]:2379/prod'])('an address of etcd: "%s"', async address => {
  const store = await openMetadata({ address, bootId })
  expect(store.address).toBe(address.replace('/prod', ''))
  await store.close()
})

test('an address of LMDB', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-metadata-'))
  const store = await openMetadata({ address: `lmdb:${directory}`, bootId })
  await store.commit([], [{ key: 'a', value: '1' }])
  expect((await store.get('a'))?.value).toBe('1')
  await store.close()
  rmSync(directory, { recursive: true })
})
