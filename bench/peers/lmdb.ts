/** LMDB as an append log: integer keys in order, asynchronous puts that lmdb batches into transactions. Main thread. */
import { join } from 'node:path'
import { open } from 'lmdb'
import type { BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'

/** Puts that may be under way before the loop waits: unlimited, their promises would fill the heap. */
const PENDING_MAX = 50_000

/** Rounds of `records` puts, counted until all are committed; each round goes on where the last ended. */
export function lmdbSide(context: BenchContext, valueBytes: number, records: number): Side {
  const values = makeValues(valueBytes).map(value => Buffer.from(value))
  const path = join(context.freshDirectory('lmdb'), 'log')
  const db = open<Buffer, number>({ path, encoding: 'binary', keyEncoding: 'uint32', compression: false })
  let key = 0
  return {
    work: records,
    async round() {
      const start = performance.now()
      const end = key + records
      let last: Promise<boolean> = Promise.resolve(true)
      for (; key < end; key++) {
        last = db.put(key, values[key & (VALUE_COUNT - 1)] as Buffer)
        if (key % PENDING_MAX === 0) await last
      }
      await last
      const ms = performance.now() - start
      if (db.getCount() !== key) throw new Error(`lmdb holds ${db.getCount()} records of ${key}`)
      return ms
    },
    close: () => db.close(),
  }
}
