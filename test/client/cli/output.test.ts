import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { count, formatTable, Output } from '../../../client/cli/output.ts'
import { formatBytes } from '../../../client/cli/verify.ts'

class Slow extends Writable {
  readonly written: Buffer[] = []
  fails: NodeJS.ErrnoException | undefined

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): void {
    this.written.push(chunk)
    setImmediate(() => done(this.fails))
  }
}

describe('Output', () => {
  test('gathers what is written, and hands it over in one piece', async () => {
    const stream = new Slow()
    const out = new Output(stream, () => undefined)
    out.write('a')
    out.line('b')
    out.json({ c: 1 })
    out.write(Buffer.from([0xff]))
    expect(stream.written).toEqual([])
    await out.flush()
    expect(Buffer.concat(stream.written)).toEqual(Buffer.from([...Buffer.from('ab\n{"c":1}\n'), 0xff]))
    await out.flush()
    expect(stream.written).toHaveLength(1)
    expect(out.isFull).toBe(false)
    out.write(Buffer.alloc(65_536))
    expect(out.isFull).toBe(true)
  })

  test('a reader that goes away is told once, and ends it', async () => {
    const stream = new Slow()
    let closed = 0
    const out = new Output(stream, () => {
      closed += 1
    })
    stream.fails = Object.assign(new Error('gone'), { code: 'EPIPE' })
    out.write('a')
    await out.flush()
    await new Promise(resolve => setImmediate(resolve))
    expect([out.isClosed, closed]).toEqual([true, 1])
    out.write('b')
    await out.flush()
    expect(stream.written).toHaveLength(1)
  })

  test('any other failure is an error', async () => {
    const stream = new Slow()
    const out = new Output(stream, () => undefined)
    stream.fails = Object.assign(new Error('no room'), { code: 'ENOSPC' })
    out.write('a')
    await out.flush().catch(() => undefined)
    await new Promise(resolve => setImmediate(resolve))
    await expect(out.flush()).rejects.toThrow('no room')
  })
})

test('tables and figures', () => {
  const rows = [
    ['a', 5],
    ['longer', 1_000],
  ]
  expect(formatTable(['name', 'n'], rows)).toBe('name       n\na          5\nlonger  1000')
  expect(formatTable(['name'], [])).toBe('name')
  expect([count(1, 'record'), count(0, 'record'), count(2_000, 'record')]).toEqual([
    '1 record',
    '0 records',
    '2,000 records',
  ])
  expect([0, 999, 1_000, 1_549_999, 2e9].map(formatBytes)).toEqual([
    '0 bytes',
    '999 bytes',
    '1.0 KB',
    '1.5 MB',
    '2.0 GB',
  ])
})
