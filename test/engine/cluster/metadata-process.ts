/** A broker's part of the LMDB metadata store in a process of its own: takes a lease, writes under it, and then does as it is told. */
import { LmdbMetadata } from '../../../engine/cluster/lmdb-metadata.ts'

const [directory, task] = process.argv.slice(2) as [string, 'commit' | 'lease']
const store = await LmdbMetadata.open({ directory, bootId: 'one' })
if (task === 'lease') {
  const lease = await store.lease(1_000)
  await store.commit([], [{ key: 'brokers/1', value: 'alive', lease }])
  setInterval(() => void lease.keepAlive(), 200)
  process.stdout.write('leased\n')
} else {
  await store.commit([], [{ key: 'before', value: '1' }])
  process.stdout.write('committing\n')
  await store.commit(
    [],
    [
      { key: 'within/a', value: '1' },
      { key: 'within/b', value: '1' },
    ],
  )
  process.stdout.write('committed\n')
  await store.close()
}
