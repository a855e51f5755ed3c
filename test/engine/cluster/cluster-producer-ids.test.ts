import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ClusterProducerIds } from '../../../engine/cluster/cluster-producer-ids.ts'
import { LmdbMetadata } from '../../../engine/cluster/lmdb-metadata.ts'

test('no id is given twice, whichever brokers ask at once, also after a restart', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-ids-'))
  const store = await LmdbMetadata.open({ directory, bootId: 'one' })
  const given: number[] = []
  for (let round = 0; round < 2; round++) {
    const brokers = [1, 2, 3].map(() => new ClusterProducerIds(store))
    given.push(...(await Promise.all(brokers.flatMap(ids => Array.from({ length: 1_500 }, () => ids.allocate())))))
  }
  expect(given).toHaveLength(9_000)
  expect(new Set(given).size).toBe(9_000)
  await store.close()
  rmSync(directory, { recursive: true })
})
