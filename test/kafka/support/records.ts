/** Records in one shape, whoever read them: what Millrace reads, what Kafka's tool dumps and what Kafka's consumer gets. */
import { createHash } from 'node:crypto'
import type { Millrace } from '../../../client/index.ts'
import type { Dumped } from './dump.ts'

export interface PlainRecord {
  readonly offset: number
  readonly timestamp: number
  /** Text, null for null. */
  readonly key: string | null
  readonly value: string | null
  /** `key=value` with commas between; a null value has no `=`. */
  readonly headers: string
}

const asText = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString())

export async function readAll(
  engine: Millrace,
  topic: string,
  partition = 0,
  isolation: 'read_committed' | 'read_uncommitted' = 'read_uncommitted',
): Promise<PlainRecord[]> {
  const records: PlainRecord[] = []
  for await (const record of engine.reader({ topic, partitions: [partition], isolation }).records()) {
    const { offset, timestamp, key, value } = record
    const headers = record.headers.map(header =>
      header.value === null ? header.key : `${header.key}=${asText(header.value)}`,
    )
    records.push({ offset, timestamp, key: asText(key), value: asText(value), headers: headers.join(',') })
  }
  return records
}

/** What the tool shows of a record: the values of headers are missing, and text is printed without quotes. */
export const asDumped = ({ offset, timestamp, key, value, headers }: PlainRecord): string => {
  const keys =
    headers === ''
      ? ''
      : headers
          .split(',')
          .map(header => header.split('=')[0])
          .join(',')
  const printed = [key === null ? [] : [`key: ${key}`], value === null ? [] : [`payload: ${value}`]].flat().join(' ')
  return [offset, timestamp, bytesOf(key), bytesOf(value), keys, digest(printed.trim())].join(' ')
}

export const dumpedRecords = ({ batches }: Pick<Dumped, 'batches'>): string[] =>
  batches
    .filter(({ isControl }) => !isControl)
    .flatMap(({ records }) => records)
    .map(({ offset, timestamp, keyBytes, valueBytes, headerKeys, content }) =>
      [offset, timestamp, keyBytes, valueBytes, headerKeys, digest(content)].join(' '),
    )

const bytesOf = (text: string | null): number => (text === null ? -1 : Buffer.byteLength(text))

/** Short text is shown as it is. */
const digest = (text: string): string =>
  text.length < 100 ? text : createHash('sha256').update(text).digest('hex').slice(0, 16)
