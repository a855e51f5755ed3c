/**
 * Errors that Millrace reports on purpose, each with a code of the table; they cross threads as `ErrorData`, because an `Error` loses its class in
 * a structured clone.
 */
import { ERRORS } from './error-table.ts'

export { ERRORS, type ErrorSpec } from './error-table.ts'

export type ErrorCode = keyof typeof ERRORS

/** Facts about one error: names with units, values that survive a structured clone. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>

/** An error as plain data, to cross a thread. */
export interface ErrorData {
  readonly code: ErrorCode
  readonly details: ErrorDetails
  readonly cause?: string
}

/** Every error that Millrace reports on purpose. Branch on `code`. */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails = {}, cause?: unknown) {
    super(describe(code, details, cause), cause === undefined ? undefined : { cause })
    this.name = 'MillraceError'
    this.code = code
    this.details = details
  }

  get retriable(): boolean {
    return ERRORS[this.code].retriable
  }
}

export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code)
}

/** Any thrown value as data; what is not ours becomes `fallback` with the original text as its cause. */
export function toErrorData(error: unknown, fallback: ErrorCode = 'PARTITION_FAILED'): ErrorData {
  if (error instanceof MillraceError) {
    const cause = error.cause === undefined ? {} : { cause: text(error.cause) }
    return { code: error.code, details: error.details, ...cause }
  }
  return { code: systemCode(error) ?? fallback, details: {}, cause: text(error) }
}

export function fromErrorData(data: ErrorData): MillraceError {
  return new MillraceError(data.code, data.details, data.cause)
}

/** Any thrown value as one of ours; what is not becomes IO_ERROR. */
export function asMillraceError(reason: unknown): MillraceError {
  return reason instanceof MillraceError ? reason : fromErrorData(toErrorData(reason, 'IO_ERROR'))
}

/** The code for an error of `node:fs` or of a libc call, undefined when it is neither. */
function systemCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'DISK_FULL'
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? 'IO_ERROR' : undefined
}

/** Wraps an error of the file system: a full disk is told apart, the rest is `IO_ERROR`. */
export function fileError(error: unknown, details: ErrorDetails): MillraceError {
  if (error instanceof MillraceError) return error
  return new MillraceError(systemCode(error) ?? 'IO_ERROR', details, error)
}

function text(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function describe(code: ErrorCode, details: ErrorDetails, cause: unknown): string {
  const facts = Object.entries(details).map(([name, value]) => `${name}=${value}`)
  const because =
    cause === undefined ? '' : ` Cause: ${cause instanceof Error ? cause.message : String(cause).split('\n')[0]}.`
  const { summary, advice } = ERRORS[code]
  return `${code}: ${summary}${facts.length > 0 ? ` (${facts.join(', ')})` : ''} ${advice}${because}`
}
