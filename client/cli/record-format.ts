/** The `--format` of `consume`: text with `%` and a letter for each part of a record, as kcat has it. */
import type { ConsumedRecord } from '../record.ts'
import { UsageError } from './failure.ts'
import { bytesToJson } from './record-json.ts'

type Part = (record: ConsumedRecord, value: Uint8Array | null) => string | Uint8Array

const EMPTY = new Uint8Array(0)

const PARTS: Readonly<Record<string, Part>> = {
  t: ({ topic }) => topic,
  p: ({ partition }) => String(partition),
  o: ({ offset }) => String(offset),
  T: ({ timestamp }) => String(timestamp),
  d: ({ timestamp }) => formatDate(timestamp),
  k: ({ key }) => key ?? EMPTY,
  K: ({ key }) => String(key?.length ?? -1),
  v: (_, value) => value ?? EMPTY,
  V: (_, value) => String(value?.length ?? -1),
  h: ({ headers }) => JSON.stringify(headers.map(({ key, value }) => ({ key, value: bytesToJson(value) }))),
  '%': () => '%',
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', '\\': '\\' }

/** A date as ISO 8601 has it; empty for a record without a timestamp. */
export function formatDate(timestamp: number): string {
  const date = new Date(timestamp)
  return timestamp < 0 || Number.isNaN(date.getTime()) ? '' : date.toISOString()
}

/** @throws UsageError for a letter that stands for nothing */
export function parseFormat(format: string): readonly Part[] {
  const pieces = format.match(/%.?|\\.?|[^%\\]+/gs) ?? []
  return pieces.map(piece => {
    const letter = piece.slice(1)
    if (piece.startsWith('%')) {
      const part = PARTS[letter]
      if (part !== undefined) return part
      const known = Object.keys(PARTS).map(name => `%${name}`)
      throw new UsageError(
        `--format has "${piece}", which stands for nothing`,
        `Use ${known.join(' ')}, and \\n \\t \\r \\0 \\\\.`,
      )
    }
    const text = piece.startsWith('\\') ? (ESCAPES[letter] ?? piece) : piece
    return () => text
  })
}
