/** Batches of a leader on their way into a follower's log: what a request to its writer carries. */
import { BATCH, baseOffsetOf, batchBytes, lastOffsetOf, leaderEpochOf } from '../format/record-batch.ts'
import { REPLICA_PREFIX_BYTES } from '../memory/append-channel.ts'

/** Stands in front of the batches: where the log has to end, so that nothing is left out after a request that failed. */
export function replicaPrefix(logEndOffset: number): Uint8Array {
  const prefix = Buffer.alloc(REPLICA_PREFIX_BYTES)
  prefix.writeBigInt64BE(BigInt(logEndOffset))
  return prefix
}

export interface Stretch {
  readonly batches: Uint8Array
  /** Behind its last record. */
  readonly end: number
  readonly epochs: readonly { readonly epoch: number; readonly offset: number }[]
}

/**
 * Cuts whole batches into requests of some size; what is cut off at the end comes again.
 * @param stretchBytes one ends with the batch that brings it to this size
 */
export function* stretchesOf(piece: Uint8Array, stretchBytes: number): Generator<Stretch> {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.length)
  let from = 0
  let end = -1
  let epochs: { epoch: number; offset: number }[] = []
  for (let at = 0; at + BATCH.headerBytes <= piece.length; ) {
    const bytes = batchBytes(view, at)
    if (bytes < BATCH.headerBytes || at + bytes > piece.length) break
    const epoch = leaderEpochOf(view, at)
    if (epoch !== epochs.at(-1)?.epoch) epochs.push({ epoch, offset: baseOffsetOf(view, at) })
    end = lastOffsetOf(view, at) + 1
    at += bytes
    if (at - from < stretchBytes) continue
    yield { batches: piece.subarray(from, at), end, epochs }
    from = at
    epochs = []
  }
  const whole = end === -1 ? 0 : wholeBytes(view, from)
  if (whole > from) yield { batches: piece.subarray(from, whole), end, epochs }
}

/** Where the whole batches end that begin at `from`. */
function wholeBytes(view: DataView, from: number): number {
  let at = from
  while (at + BATCH.headerBytes <= view.byteLength) {
    const bytes = batchBytes(view, at)
    if (bytes < BATCH.headerBytes || at + bytes > view.byteLength) break
    at += bytes
  }
  return at
}
