/** `millrace produce` and `millrace import`: records from lines, or from NDJSON as `consume --json` and `export` write it. */
import { accessSync, constants } from 'node:fs'
import { isMillraceError } from '../../engine/base/errors.ts'
import type { SchemaEntry } from '../../engine/broker/schema-service.ts'
import type { Codec } from '../../engine/format/compression.ts'
import type { RecordHeader } from '../../engine/format/record.ts'
import { AvroSerde } from '../avro.ts'
import type { Millrace } from '../millrace.ts'
import type { Message } from '../types.ts'
import { avroValueFromJson } from './avro-json.ts'
import type { Context } from './context.ts'
import { CommandError, UsageError } from './failure.ts'
import { count } from './output.ts'
import { messageFromJson, parseJson } from './record-json.ts'
import { chooseSchema, readSchema, withSchemas } from './schema-choice.ts'
import { type Sent, sendLines } from './sending.ts'
import { owning } from './session.ts'
import { parseConfig } from './topics.ts'

export interface ProduceOptions {
  readonly input: 'lines' | 'ndjson'
  readonly key?: string
  readonly keyDelimiter?: string
  readonly header: readonly string[]
  readonly partition?: number
  readonly timestamp?: number
  readonly compression: Codec
  readonly schema?: string
  readonly json?: boolean
}

export async function produce(
  context: Context,
  topic: string,
  file: string | undefined,
  options: ProduceOptions,
): Promise<void> {
  if (options.input === 'ndjson') demandPlain(options)
  if (options.key !== undefined && options.keyDelimiter !== undefined) {
    throw new UsageError('--key and --key-delimiter exclude each other', 'Give one key for all, or a delimiter.')
  }
  if (file !== undefined && file !== '-') demandFile(file)
  const headers = options.header.map(parseHeader)
  const schema = options.schema === undefined ? undefined : await schemaOf(context, options.schema)
  await owning(context, false, async engine => {
    const encode = await encoderOf(engine, topic, schema)
    const messageOf = options.input === 'ndjson' ? fromNdjson(encode) : fromLines(options, headers, encode)
    const sent = await sendLines(engine, context, { topic, file, compression: options.compression, messageOf })
    tellSent(context, topic, sent, options.json === true)
  })
}

/** Each line of NDJSON says for itself what these options say for all lines. */
function demandPlain(options: ProduceOptions): void {
  const { key, keyDelimiter, partition, timestamp, header } = options
  const given = { '--key': key, '--key-delimiter': keyDelimiter, '--partition': partition, '--timestamp': timestamp }
  const named = Object.entries(given).find(([, value]) => value !== undefined)?.[0]
  const option = named ?? (header.length > 0 ? '--header' : undefined)
  if (option === undefined) return
  throw new UsageError(
    `${option} is for lines, not for NDJSON`,
    'Write {"key": …, "value": …, "headers": …, "partition": …, "timestamp": …} in each line instead.',
  )
}

type Encode = ((value: unknown) => Uint8Array | null) | undefined

/** A schema of the directory, or the text of one that is to be registered. */
type ChosenSchema = SchemaEntry | { readonly text: string }

/** Before the directory is owned. */
async function schemaOf(context: Context, choice: string): Promise<ChosenSchema> {
  return choice.startsWith('@')
    ? { text: await readSchema(context, choice.slice(1)) }
    : withSchemas(context.directory, schemas => chooseSchema(schemas, choice))
}

/** Avro with the schema that was chosen; undefined: bytes as they are. */
async function encoderOf(engine: Millrace, topic: string, schema: ChosenSchema | undefined): Promise<Encode> {
  if (schema === undefined) return undefined
  if (!('id' in schema)) await engine.admin.describeTopic(topic) // else a schema of no topic would stay behind
  const entry = 'id' in schema ? schema : await engine.schemas.register(`${topic}-value`, schema.text)
  const { id, text, definitions = [] } = entry
  const serde = new AvroSerde(id, text, undefined, { definitions })
  return value => {
    if (value === null) return null
    try {
      return serde.encode(avroValueFromJson(value))
    } catch (error) {
      if (!isMillraceError(error)) throw error
      const { path, expected, found } = error.details
      throw new Error(`the value does not fit the schema: ${path} is ${found}, and should be ${expected}`)
    }
  }
}

const fromNdjson =
  (encode: Encode) =>
  (line: Buffer): Message | undefined =>
    line.length === 0 ? undefined : messageFromJson(line.toString(), encode)

function fromLines(
  options: ProduceOptions,
  headers: readonly RecordHeader[],
  encode: Encode,
): (line: Buffer) => Message {
  const { key, partition, timestamp } = options
  const delimiter = options.keyDelimiter === undefined ? undefined : Buffer.from(options.keyDelimiter)
  const common = {
    ...(partition === undefined ? {} : { partition }),
    ...(timestamp === undefined ? {} : { timestamp }),
    ...(headers.length === 0 ? {} : { headers }),
  }
  return line => {
    const at = delimiter === undefined ? -1 : line.indexOf(delimiter)
    if (delimiter !== undefined && at === -1) throw new Error(`there is no "${options.keyDelimiter}" behind a key`)
    const bytes = delimiter === undefined ? line : line.subarray(at + delimiter.length)
    const value = encode === undefined ? bytes : encode(parseJson(bytes.toString()))
    return { ...common, key: delimiter === undefined ? (key ?? null) : line.subarray(0, at), value }
  }
}

/** @throws UsageError unless it is NAME=VALUE */
export function parseHeader(text: string): RecordHeader {
  const at = text.indexOf('=')
  if (at <= 0) throw new UsageError(`--header cannot be "${text}"`, 'Give NAME=VALUE.')
  return { key: text.slice(0, at), value: Buffer.from(text.slice(at + 1)) }
}

function tellSent(context: Context, topic: string, sent: Sent, json: boolean): void {
  if (json) context.out.json({ topic, ...sent })
  else context.note(`${count(sent.count, 'record')} to ${topic}`)
}

export interface ImportOptions {
  readonly create?: boolean
  readonly partitions: number
  readonly config: readonly string[]
  readonly compression: Codec
  readonly json?: boolean
}

export async function importRecords(
  context: Context,
  topic: string,
  file: string | undefined,
  options: ImportOptions,
): Promise<void> {
  const config = parseConfig(options.config, false)
  if (options.create !== true && (options.config.length > 0 || options.partitions !== 1)) {
    throw new UsageError('--partitions and --config are for a new topic', 'Add --create, or leave them out.')
  }
  if (file !== undefined && file !== '-') demandFile(file)
  await owning(context, options.create === true, async engine => {
    if (options.create === true) await engine.admin.createTopic({ topic, partitions: options.partitions, config })
    const messageOf = fromNdjson(undefined)
    const sent = await sendLines(engine, context, { topic, file, compression: options.compression, messageOf })
    tellSent(context, topic, sent, options.json === true)
  })
}

/** Before a topic is made for it. */
function demandFile(file: string): void {
  try {
    accessSync(file, constants.R_OK)
  } catch (error) {
    throw new CommandError(`${file} cannot be read`, 'Correct the path, or pipe the records in.', error)
  }
}
