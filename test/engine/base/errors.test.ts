import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  ERRORS,
  type ErrorCode,
  type ErrorSpec,
  fileError,
  fromErrorData,
  isMillraceError,
  MillraceError,
  toErrorData,
} from '../../../engine/base/errors.ts'
import { errorsMarkdown, KAFKA_ERRORS } from './errors-markdown.ts'

const SPECS = Object.entries(ERRORS) as [ErrorCode, ErrorSpec][]

describe('the error table', () => {
  test('is what docs/ERRORS.md says', () => {
    const path = new URL('../../../docs/ERRORS.md', import.meta.url)
    expect(readFileSync(path, 'utf8')).toBe(errorsMarkdown())
  })

  test.each(SPECS)('%s is complete', (code, spec) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/)
    expect(spec.summary).toMatch(/^[A-Z].*\.$/)
    expect(spec.advice).toMatch(/^[A-Z].*\.$/)
    expect(KAFKA_ERRORS[spec.kafkaCode], 'a code of Kafka’s protocol guide').toBeDefined()
  })

  test('has each code of Kafka under its own name where there is one', () => {
    for (const [number, name] of Object.entries(KAFKA_ERRORS)) {
      if (Object.hasOwn(ERRORS, name)) expect(ERRORS[name as ErrorCode].kafkaCode).toBe(Number(number))
    }
  })
})

describe('a MillraceError', () => {
  const cause = new Error('underneath')
  const error = new MillraceError('CORRUPT_BATCH', { path: '/log', position: 7, reason: 'crc' }, cause)

  test('tells code, facts, what happened, what to do and why', () => {
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('MillraceError')
    expect(error.code).toBe('CORRUPT_BATCH')
    expect(error.details).toEqual({ path: '/log', position: 7, reason: 'crc' })
    expect(error.cause).toBe(cause)
    expect(error.retriable).toBe(false)
    const { summary, advice } = ERRORS.CORRUPT_BATCH
    expect(error.message).toBe(
      `CORRUPT_BATCH: ${summary} (path=/log, position=7, reason=crc) ${advice} Cause: underneath.`,
    )
  })

  test('is short without facts and cause', () => {
    const { summary, advice } = ERRORS.BACK_PRESSURE
    const plain = new MillraceError('BACK_PRESSURE')
    expect(plain.message).toBe(`BACK_PRESSURE: ${summary} ${advice}`)
    expect(plain.retriable).toBe(true)
    expect('cause' in plain).toBe(false)
  })

  test('is recognised, with its code when one is asked for', () => {
    expect(isMillraceError(error)).toBe(true)
    expect(isMillraceError(error, 'CORRUPT_BATCH')).toBe(true)
    expect(isMillraceError(error, 'CORRUPT_INDEX')).toBe(false)
    expect(isMillraceError(cause)).toBe(false)
    expect(isMillraceError({ code: 'CORRUPT_BATCH' })).toBe(false)
  })

  test('crosses a thread as data', () => {
    const data = structuredClone(toErrorData(error))
    expect(data).toMatchObject({ code: 'CORRUPT_BATCH', details: error.details })
    expect(data.cause).toContain('underneath')
    const again = fromErrorData(data)
    expect(again).toBeInstanceOf(MillraceError)
    expect(again).toMatchObject({ code: error.code, details: error.details })
    expect(again.message).toContain('underneath')
    expect(toErrorData(new MillraceError('CLOSED'))).toEqual({ code: 'CLOSED', details: {} })
  })
})

describe('errors of others', () => {
  const system = (code: string): Error => Object.assign(new Error(`${code}: failed`), { code })

  test.each([
    ['ENOSPC', 'DISK_FULL'],
    ['EDQUOT', 'DISK_FULL'],
    ['EIO', 'IO_ERROR'],
    ['EACCES', 'IO_ERROR'],
  ] as const)('%s of the file system is %s', (code, expected) => {
    const error = fileError(system(code), { path: '/file' })
    expect(error).toMatchObject({ code: expected, details: { path: '/file' }, cause: { code } })
    expect(toErrorData(system(code)).code).toBe(expected)
  })

  test('ours passes through', () => {
    const error = new MillraceError('CLOSED')
    expect(fileError(error, { path: '/file' })).toBe(error)
  })

  test('anything else is the fallback, with its text', () => {
    expect(toErrorData(new TypeError('no function'))).toMatchObject({ code: 'PARTITION_FAILED', details: {} })
    expect(toErrorData(new TypeError('no function')).cause).toContain('no function')
    expect(toErrorData('a string', 'WRITER_CRASHED')).toEqual({
      code: 'WRITER_CRASHED',
      details: {},
      cause: 'a string',
    })
    expect(toErrorData(null).code).toBe('PARTITION_FAILED')
    expect(toErrorData(Object.assign(new Error('x'), { code: 'ERR_ASSERTION' })).code).toBe('PARTITION_FAILED')
  })
})
