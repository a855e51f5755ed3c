/** One put in a transaction of LMDB of its own, awaited, again and again: what there is to wait for in an acknowledgement. Main thread. */
import { join } from 'node:path'
import { open } from 'lmdb'
import type { BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'

/**
 * @param transactions of one round
 * @param perTransaction what each of them is worth in the unit of the case
 */
export function transactionLimit(context: BenchContext, transactions: number, perTransaction: number): Side {
  const path = join(context.freshDirectory('transactions'), 'data')
  const db = open<string, number>({ path, encoding: 'string', keyEncoding: 'uint32' })
  context.defer(() => db.close())
  return {
    work: transactions * perTransaction,
    async round() {
      const start = performance.now()
      for (let i = 0; i < transactions; i++) await db.put(0, `transaction ${i}`)
      return performance.now() - start
    },
  }
}
