/** What the client underneath throws, as our errors: Kafka's error where the cluster answered one, else that it was not reached. */
import { ERRORS, type ErrorCode, type ErrorDetails, isMillraceError, MillraceError } from '../../engine/base/errors.ts'

/** Of several errors of ours for one of Kafka's, the one that is meant from here. */
const PREFERRED: readonly ErrorCode[] = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'OFFSET_OUT_OF_RANGE',
  'RECORD_TOO_LARGE',
  'INVALID_TOPIC_NAME',
  'TOPIC_ALREADY_EXISTS',
  'INVALID_PARTITIONS',
  'INVALID_CONFIG',
  'GROUP_ID_NOT_FOUND',
  'NON_EMPTY_GROUP',
  'CORRUPT_BATCH',
  'TIMED_OUT',
  'IO_ERROR',
]

/** Kafka's errors that say the same from here, by number: what we have no code of our own for. */
const ALIKE: readonly (readonly [number, ErrorCode])[] = [
  [100, 'UNKNOWN_TOPIC_OR_PARTITION'], // UNKNOWN_TOPIC_ID
  [6, 'LEADER_NOT_AVAILABLE'], // NOT_LEADER_OR_FOLLOWER
  [9, 'LEADER_NOT_AVAILABLE'], // REPLICA_NOT_AVAILABLE
  [74, 'LEADER_NOT_AVAILABLE'], // FENCED_LEADER_EPOCH
  [75, 'LEADER_NOT_AVAILABLE'], // UNKNOWN_LEADER_EPOCH
  [78, 'LEADER_NOT_AVAILABLE'], // OFFSET_NOT_AVAILABLE
]

const byKafkaCode = new Map<number, ErrorCode>(ALIKE)
for (const code of [...PREFERRED, ...(Object.keys(ERRORS) as ErrorCode[])]) {
  const { kafkaCode } = ERRORS[code]
  if (kafkaCode > 0 && !byKafkaCode.has(kafkaCode)) byKafkaCode.set(kafkaCode, code)
}

interface Reported {
  readonly apiCode?: number
  readonly apiId?: string
  readonly code?: string
  readonly errors?: readonly unknown[]
  readonly cause?: unknown
}

/** The first error in a tree of errors that a broker reported. */
function reported(error: unknown, depth = 0): Reported | undefined {
  if (typeof error !== 'object' || error === null || depth > 8) return undefined
  const found = error as Reported
  if (typeof found.apiCode === 'number' && found.apiCode !== 0) return found
  for (const inner of [...(found.errors ?? []), found.cause]) {
    const deeper = reported(inner, depth + 1)
    if (deeper !== undefined) return deeper
  }
  return undefined
}

/** Kafka's number for what a broker reported, undefined when it reported nothing. */
export const kafkaCodeIn = (error: unknown): number | undefined => reported(error)?.apiCode

/** The answer that the client underneath found an error in. */
export function responseIn<T>(error: unknown, depth = 0): T | undefined {
  if (typeof error !== 'object' || error === null || depth > 8) return undefined
  const { response, errors, cause } = error as { response?: T; errors?: unknown[]; cause?: unknown }
  if (response !== undefined) return response
  for (const inner of [...(errors ?? []), cause]) {
    const found = responseIn<T>(inner, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** Ours for a number that a broker answered. */
export function errorOfKafka(kafkaCode: number, details: ErrorDetails, cause: unknown): MillraceError {
  const code = byKafkaCode.get(kafkaCode)
  return code === undefined
    ? new MillraceError('IO_ERROR', { ...details, kafkaError: kafkaCode }, cause)
    : new MillraceError(code, details, cause)
}

function hasCode(error: unknown, code: string, depth = 0): boolean {
  if (typeof error !== 'object' || error === null || depth > 8) return false
  const found = error as Reported
  if (found.code === code) return true
  return [...(found.errors ?? []), found.cause].some(inner => hasCode(inner, code, depth + 1))
}

export function toMillraceError(error: unknown, details: ErrorDetails = {}): MillraceError {
  if (isMillraceError(error)) return error
  const answer = reported(error)
  if (answer?.apiCode !== undefined) return errorOfKafka(answer.apiCode, details, error)
  if (hasCode(error, 'PLT_KFK_USER')) return new MillraceError('INVALID_ARGUMENT', details, error)
  return new MillraceError('CONNECTION_FAILED', details, error)
}

/** Awaits, and throws ours. */
export async function remotely<T>(work: Promise<T>, details: ErrorDetails = {}): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw toMillraceError(error, details)
  }
}

/** For what a cluster cannot be asked for. */
export function unsupported(operation: string): MillraceError {
  return new MillraceError('UNSUPPORTED_OPERATION', { operation, transport: 'kafka' })
}
