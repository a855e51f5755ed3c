/** What readers accept, of an engine and of a cluster. */
import { MillraceError } from '../engine/base/errors.ts'
import { MIB } from '../engine/base/limits.ts'
import { whole } from '../engine/broker/options.ts'
import type { ReaderOptions, ReadFrom, ReadTo } from './types.ts'

/** @throws INVALID_ARGUMENT */
export function checkReaderOptions(options: ReaderOptions): { maxBytes: number; isCommitted: boolean } {
  const maxBytes = whole('maxBytes', options.maxBytes ?? MIB, 1, 0x7fff_ffff)
  checkFrom(options.from ?? 'earliest')
  checkTo(options.to ?? 'end')
  return { maxBytes, isCommitted: checkIsolation(options.isolation ?? 'read_uncommitted') }
}

function checkFrom(from: ReadFrom): void {
  if (from === 'earliest' || from === 'latest') return
  const { offset, timestamp } = Object(from) as { offset?: number; timestamp?: number }
  const value = offset ?? timestamp
  if (!Number.isSafeInteger(value))
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'from', value: String(value) })
}

function checkTo(to: ReadTo): void {
  if (to === 'never' || to === 'end') return
  const { offset } = Object(to) as { offset?: number }
  if (!Number.isSafeInteger(offset))
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'to', value: String(offset) })
}

/** True for read_committed. @throws INVALID_ARGUMENT */
export function checkIsolation(isolation: string): boolean {
  if (isolation === 'read_committed') return true
  if (isolation === 'read_uncommitted') return false
  throw new MillraceError('INVALID_ARGUMENT', { argument: 'isolation', value: String(isolation) })
}
