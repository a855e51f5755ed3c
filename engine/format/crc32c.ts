/**
 * CRC-32C (Castagnoli), the checksum of record batches: the native implementation, about 5.5 GB/s. Any thread. A call
 * costs about 0.2 microseconds before the first byte, so it is made once a batch and never per record.
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32'

/** The CRC-32C of `bytes[at..end)`, unsigned. The range must lie inside `bytes`. */
export function crc32c(bytes: Buffer, at: number, end: number): number {
  return nativeCrc32c(bytes.subarray(at, end))
}
