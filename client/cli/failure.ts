/** How commands fail: exit codes, and errors as text that says what to do next. */
import { ERRORS, type ErrorCode, isMillraceError } from '../../engine/base/errors.ts'

export const EXIT = {
  ok: 0,
  /** It did not work, or damage was found. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  interrupted: 130,
  terminated: 143,
} as const

/** The command could not do what it was told. */
export class CommandError extends Error {
  readonly advice: string

  constructor(message: string, advice: string, cause?: unknown) {
    super(message, { cause })
    this.advice = advice
  }
}

/** The command line asks for something that makes no sense. */
export class UsageError extends CommandError {}

/** What to do next on the command line; where nothing is said here, the advice of the error table holds. */
const ADVICE: Partial<Readonly<Record<ErrorCode, string>>> = {
  DIRECTORY_LOCKED:
    'A service has it open. Commands that only read work beside it: topics list, topics describe, consume, lookup, queue list, queue describe, queue peek, groups list, groups describe, schemas, dump-log, verify, export. To change something, stop the service first, or let it do the change.',
  DIRECTORY_NOT_FOUND: 'Correct --dir. "millrace --dir DIRECTORY topics create TOPIC" makes a new data directory.',
  UNKNOWN_TOPIC_OR_PARTITION: '"millrace topics list" shows the topics, "millrace topics create TOPIC" makes one.',
  TOPIC_ALREADY_EXISTS: 'Choose another name, use the topic, or say --if-not-exists.',
  OFFSET_OUT_OF_RANGE: '"millrace topics describe TOPIC" shows the first and the last offset of each partition.',
  INVALID_CONFIG: '"millrace topics describe TOPIC --all" shows every key; docs/API.md says what they mean.',
  INVALID_PARTITIONS: 'A topic has 1 to 10,000 partitions and can only grow.',
  RECORD_TOO_LARGE: 'Raise max.message.bytes: millrace topics alter TOPIC --config max.message.bytes=BYTES.',
  UNKNOWN_QUEUE: '"millrace queue list" shows the queues, "millrace queue push TOPIC" makes one.',
  UNKNOWN_SCHEMA: '"millrace schemas list" shows the schemas, "millrace schemas register SUBJECT FILE" adds one.',
  INCOMPATIBLE_SCHEMA:
    'Change the schema as the reasons say, or set another level: millrace schemas compatibility LEVEL --subject SUBJECT.',
  SCHEMA_IN_USE: '"millrace schemas delete" the schema that refers to it first.',
  GROUP_ID_NOT_FOUND: '"millrace groups list" shows the groups. A new one gets offsets with --topics.',
  NON_EMPTY_GROUP: 'Close its consumers first. One that died is out when its session has ended.',
  NOT_AVRO_ENCODED: 'Read the topic without --avro.',
  CORRUPT_BATCH:
    '"millrace verify" shows everything that is damaged. With --from the nextOffset of the details one reads on behind it.',
  CORRUPT_RECORD: '"millrace verify" shows everything that is damaged.',
  CORRUPT_INDEX: 'Indexes are built anew when the directory is opened by its owner.',
  DECOMPRESSED_TOO_LARGE: '"millrace verify" shows everything that is damaged.',
}

/** The text for stderr, and the exit code. */
export function describeFailure(error: unknown): { readonly text: string; readonly exitCode: number } {
  if (error instanceof UsageError) return { text: lines(error.message, error.advice), exitCode: EXIT.usage }
  if (error instanceof CommandError) return { text: lines(error.message, error.advice), exitCode: EXIT.failed }
  if (isMillraceError(error)) {
    const { code, details, cause } = error
    const facts = Object.entries(details).map(([name, value]) => `${name}=${value}`)
    const because = cause === undefined ? '' : `\n  cause: ${cause instanceof Error ? cause.message : firstLine(cause)}`
    const what = `${ERRORS[code].summary} [${code}${facts.length > 0 ? ` ${facts.join(', ')}` : ''}]${because}`
    return { text: lines(what, ADVICE[code] ?? ERRORS[code].advice), exitCode: EXIT.failed }
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { text: lines(text, 'This should not happen. Please report it with the command line.'), exitCode: EXIT.failed }
}

const lines = (what: string, advice: string): string => `millrace: ${what}\n  ${advice}`

const firstLine = (cause: unknown): string => String(cause).split('\n')[0] as string
