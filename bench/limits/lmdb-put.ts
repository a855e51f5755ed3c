/**
 * Limit of commits: LMDB's asynchronous puts of small values under distinct keys, batched by lmdb into transactions that are
 * flushed before they are answered. The same keys in every round, as offsets are committed again and again. Main thread.
 * Frozen: no engine code.
 */
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { open } from 'lmdb'
import type { Side } from '../harness/side.ts'

/** Puts between two turns of the event loop: those of a turn share a transaction. */
export const TURN = 1_000

/**
 * Keys of 40 bytes: one for each of `groups` prefixes in turn, so that neighbours in time are not neighbours in the file.
 * @param valueBytes of text
 */
export function lmdbPutLimit(directory: string, count: number, groups: number, valueBytes: number): Side {
  const root = open<string, Buffer>({
    path: join(directory, 'limit'),
    encoding: 'string',
    keyEncoding: 'binary',
    overlappingSync: false,
  })
  const value = 'v'.repeat(valueBytes)
  return {
    work: count,
    async round() {
      const start = performance.now()
      let last: Promise<boolean> = Promise.resolve(true)
      for (let i = 0; i < count; i++) {
        const key = Buffer.alloc(40, 0x6b)
        key.writeUInt32BE(i % groups, 12)
        key.writeUInt32BE(Math.floor(i / groups), 36)
        last = root.put(key, value)
        if (i % TURN === TURN - 1) await nextTurn()
      }
      await last
      const ms = performance.now() - start
      if (root.getCount() !== count) throw new Error(`lmdb holds ${root.getCount()} values of ${count}`)
      return ms
    },
    close: () => root.close(),
  }
}
