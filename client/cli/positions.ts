/** Where reading begins and ends, as the command line says it: `start`, `end`, an offset, `-N` before the end, `@time`. */
import type { Lookup } from '../lookup.ts'
import { UsageError } from './failure.ts'

export type Position =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'before-end'; readonly offsets: number }
  | { readonly kind: 'time'; readonly timestamp: number }

const WANTED = 'start, end, an offset, -N (N offsets before the end), or @TIME'

/** @param option whose value it is, for the error @throws UsageError */
export function parsePosition(text: string, option: string): Position {
  if (text === 'start') return { kind: 'start' }
  if (text === 'end') return { kind: 'end' }
  if (text.startsWith('@')) return { kind: 'time', timestamp: parseTime(text.slice(1)) }
  const number = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number)) throw new UsageError(`${option} cannot be "${text}"`, `Give ${WANTED}.`)
  return number < 0 || text.startsWith('-')
    ? { kind: 'before-end', offsets: Math.abs(number) }
    : { kind: 'offset', offset: number }
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds since the Unix epoch; a date as ISO 8601 has it; or `-15m`, so long ago, in s, m, h or d. @throws UsageError */
export function parseTime(text: string): number {
  const ago = /^-(\d+)([smhd])$/.exec(text)
  if (ago !== null) return Date.now() - Number(ago[1]) * (UNIT_MS[ago[2] as string] as number)
  const timestamp = /^-?\d+$/.test(text) ? Number(text) : /^\d{4}-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isSafeInteger(timestamp)) return timestamp
  throw new UsageError(
    `"${text}" is not a time`,
    'Give milliseconds since 1970, a date such as 2026-01-31T12:00:00Z, or how long ago: -90s, -15m, -2h, -7d.',
  )
}

/** The offset in one partition. @param isOnly no other partition is read, so that an offset out of range is an error and not clamped */
export function resolvePosition(position: Position, lookup: Lookup, partition: number, isOnly: boolean): number {
  const first = lookup.earliest(partition)
  const end = lookup.latest(partition)
  if (position.kind === 'start') return first
  if (position.kind === 'end') return end
  if (position.kind === 'before-end') return Math.max(first, end - position.offsets)
  if (position.kind === 'time') return lookup.byTimestamp(partition, position.timestamp)?.offset ?? end
  return isOnly ? position.offset : Math.min(Math.max(position.offset, first), end)
}
