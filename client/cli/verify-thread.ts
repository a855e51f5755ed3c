/** A thread of `millrace verify`: verifies the segments that it is sent, one at a time. */
import { parentPort, workerData } from 'node:worker_threads'
import { type ErrorData, toErrorData } from '../../engine/base/errors.ts'
import { isMissing, verifySegment } from '../../engine/log/verify-segment.ts'
import type { SegmentToVerify, SegmentVerification } from '../../engine/log/verify-types.ts'

export interface VerifyAnswer {
  readonly index: number
  /** Undefined when the file is gone. */
  readonly verification?: SegmentVerification
  readonly error?: ErrorData
}

const counter = new BigInt64Array(workerData as SharedArrayBuffer)

parentPort?.on('message', ({ index, segment }: { readonly index: number; readonly segment: SegmentToVerify }) => {
  parentPort?.postMessage(verify(index, segment))
})

function verify(index: number, segment: SegmentToVerify): VerifyAnswer {
  try {
    const onProgress = (bytes: number): void => void Atomics.add(counter, 0, BigInt(bytes))
    return { index, verification: verifySegment(segment, onProgress) }
  } catch (error) {
    return isMissing(error) ? { index } : { index, error: toErrorData(error) }
  }
}
