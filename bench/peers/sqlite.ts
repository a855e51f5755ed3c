/** SQLite as an append log: WAL, no syncs, one prepared insert in transactions of a thousand. Main thread. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'

const TRANSACTION_RECORDS = 1000

/** Rounds of `records` inserts, a multiple of a thousand; each round goes on where the last ended. */
export function sqliteSide(context: BenchContext, valueBytes: number, records: number): Side {
  const values = makeValues(valueBytes)
  const db = new DatabaseSync(join(context.freshDirectory('sqlite'), 'log.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')
  db.exec('CREATE TABLE log (offset INTEGER PRIMARY KEY, value BLOB NOT NULL)')
  const insert = db.prepare('INSERT INTO log (offset, value) VALUES (?, ?)')
  let offset = 0
  return {
    work: records,
    round() {
      const start = performance.now()
      const end = offset + records
      while (offset < end) {
        db.exec('BEGIN')
        for (let i = 0; i < TRANSACTION_RECORDS; i++, offset++) {
          insert.run(offset, values[offset & (VALUE_COUNT - 1)] as Uint8Array)
        }
        db.exec('COMMIT')
      }
      const ms = performance.now() - start
      const row = db.prepare('SELECT max(offset) AS last FROM log').get()
      if (row?.['last'] !== offset - 1)
        throw new Error(`sqlite holds offsets up to ${row?.['last']}, not ${offset - 1}`)
      return ms
    },
    close: () => db.close(),
  }
}
