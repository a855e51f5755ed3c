/**
 * Writes docs/ERRORS.md from the table in engine/base/errors.ts; a test holds the two identical. After a change of the
 * table: `node test/engine/base/errors-markdown.ts > docs/ERRORS.md`.
 */
import { ERRORS, type ErrorSpec } from '../../../engine/base/errors.ts'

/** Names in Kafka's protocol guide of the codes that the table uses. */
export const KAFKA_ERRORS: Readonly<Record<number, string>> = {
  [-1]: 'UNKNOWN_SERVER_ERROR',
  1: 'OFFSET_OUT_OF_RANGE',
  2: 'CORRUPT_MESSAGE',
  3: 'UNKNOWN_TOPIC_OR_PARTITION',
  5: 'LEADER_NOT_AVAILABLE',
  6: 'NOT_LEADER_OR_FOLLOWER',
  7: 'REQUEST_TIMED_OUT',
  19: 'NOT_ENOUGH_REPLICAS',
  20: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  10: 'MESSAGE_TOO_LARGE',
  15: 'COORDINATOR_NOT_AVAILABLE',
  14: 'COORDINATOR_LOAD_IN_PROGRESS',
  16: 'NOT_COORDINATOR',
  17: 'INVALID_TOPIC_EXCEPTION',
  22: 'ILLEGAL_GENERATION',
  23: 'INCONSISTENT_GROUP_PROTOCOL',
  24: 'INVALID_GROUP_ID',
  25: 'UNKNOWN_MEMBER_ID',
  26: 'INVALID_SESSION_TIMEOUT',
  27: 'REBALANCE_IN_PROGRESS',
  29: 'TOPIC_AUTHORIZATION_FAILED',
  35: 'UNSUPPORTED_VERSION',
  36: 'TOPIC_ALREADY_EXISTS',
  38: 'INVALID_REPLICATION_FACTOR',
  101: 'DUPLICATE_BROKER_REGISTRATION',
  37: 'INVALID_PARTITIONS',
  40: 'INVALID_CONFIG',
  41: 'NOT_CONTROLLER',
  42: 'INVALID_REQUEST',
  43: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  45: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
  47: 'INVALID_PRODUCER_EPOCH',
  56: 'KAFKA_STORAGE_ERROR',
  57: 'LOG_DIR_NOT_FOUND',
  68: 'NON_EMPTY_GROUP',
  69: 'GROUP_ID_NOT_FOUND',
  76: 'UNSUPPORTED_COMPRESSION_TYPE',
  79: 'MEMBER_ID_REQUIRED',
  81: 'GROUP_MAX_SIZE_REACHED',
  82: 'FENCED_INSTANCE_ID',
  86: 'GROUP_SUBSCRIBED_TO_TOPIC',
  87: 'INVALID_RECORD',
  110: 'FENCED_MEMBER_EPOCH',
  111: 'UNRELEASED_INSTANCE_ID',
  112: 'UNSUPPORTED_ASSIGNOR',
  113: 'STALE_MEMBER_EPOCH',
  121: 'INVALID_RECORD_STATE',
  128: 'INVALID_REGULAR_EXPRESSION',
}

const INTRODUCTION = `# Errors

Every error that Millrace reports on purpose is a \`MillraceError\`. Branch on its \`code\`; the message is for people and may
change. \`details\` has the facts (names with units, plain values), \`cause\` the error underneath where there is one, and
\`retriable\` says whether the same call may succeed later without a change. Codes are never renamed.

\`\`\`ts
import { MillraceError } from 'millrace/errors'

try {
  await producer.send({ topic: 'events', messages: [{ value }] })
} catch (error) {
  if (error instanceof MillraceError && error.code === 'RECORD_TOO_LARGE') drop(value, error.details)
  else throw error
}
\`\`\`

Any other error that comes out of Millrace, an \`InvariantError\` above all, is a bug: please report it.

The last column is what a Kafka client sees in its place.
`

export function errorsMarkdown(): string {
  const rows = (Object.entries(ERRORS) as [string, ErrorSpec][]).map(([code, spec]) => {
    const kafka = `${spec.kafkaCode} ${KAFKA_ERRORS[spec.kafkaCode]}`
    return `| \`${code}\` | ${cell(spec.summary)} | ${cell(spec.advice)} | ${spec.retriable ? 'yes' : 'no'} | ${kafka} |`
  })
  const head = '| code | what happened | what to do | retriable | in Kafka |\n|---|---|---|---|---|'
  return `${INTRODUCTION}\n${head}\n${rows.join('\n')}\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

if (import.meta.main) process.stdout.write(errorsMarkdown())
