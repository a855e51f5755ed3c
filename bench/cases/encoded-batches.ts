/** Encoded batches of one size for the cases that send them as they are. */
import { type EncodedBatch, encodeBatch } from '../../engine/format/record-batch.ts'
import { makeValues, VALUE_COUNT } from '../limits/values.ts'

/** So many different batches, each of `records` records. */
export function encodedBatches(count: number, records: number, valueBytes: number): EncodedBatch[] {
  const values = makeValues(valueBytes)
  return Array.from({ length: count }, (_, at) =>
    encodeBatch(
      Array.from({ length: records }, (_, index) => ({
        timestamp: 1_000_000_000_000 + index,
        value: values[(at * records + index) & (VALUE_COUNT - 1)] as Uint8Array,
      })),
    ),
  )
}
