/** Flusher and janitor by themselves: what they do for an order, what they answer, and what they say when the world fails them. */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { segmentFileName } from '../../engine/format/file-names.ts'
import { ALLOCATE_FLAG } from '../../engine/log/services.ts'
import { SLOT } from '../../engine/memory/control-block.ts'
import type { SERVICE } from '../../engine/memory/engine-memory.ts'
import { Mapping } from '../../engine/memory/mapping.ts'
import { SEGMENT } from '../../engine/memory/segment-table.ts'
import { ORDER } from '../../engine/memory/service-ring.ts'
import { LoopFixture, SLOT_NUMBER } from './loop-fixture.ts'

let open: LoopFixture[] = []
afterEach(async () => {
  for (const fixture of open) await fixture.close()
  open = []
})

function start(service: keyof typeof SERVICE): LoopFixture {
  const fixture = new LoopFixture(service)
  open.push(fixture)
  return fixture
}

const logPath = (fixture: LoopFixture, baseOffset = 0): string =>
  join(fixture.partitionFolder, segmentFileName(baseOffset, 'log'))

/** A segment file of `bytes`, open for writing. */
function segment(fixture: LoopFixture, bytes: number, baseOffset = 0): number {
  const path = logPath(fixture, baseOffset)
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return openSync(path, 'r+')
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}

test('every loop comes to its event loop, with nothing to do and with much', async () => {
  const idle = (['flusher', 'indexer', 'janitor'] as const).map(start)
  for (const fixture of idle) await fixture.turned(2)
  const busy = start('janitor')
  const timer = setInterval(() => busy.post({ kind: 'serve', partitions: [] }), 1)
  await busy.turned(3).finally(() => clearInterval(timer))
})

describe('flusher', () => {
  /** Publishes an end offset and the active segment, as the writer does. */
  function publish(fixture: LoopFixture, logEndOffset: number, tailBase: number): void {
    const { control, segments } = fixture.memory
    segments.set(0, SEGMENT.baseOffset, tailBase)
    control.set(SLOT_NUMBER, SLOT.tailSegment, 0)
    control.set(SLOT_NUMBER, SLOT.logEndOffset, logEndOffset)
  }

  test('a flush covers all that was published before it began', async () => {
    const fixture = start('flusher')
    fixture.serve()
    const fd = segment(fixture, 100)
    publish(fixture, 70, 0)
    fixture.order({ kind: ORDER.flush, fd, a: 50, b: 0 })
    expect(await fixture.reply()).toMatchObject({ kind: ORDER.flush, slot: SLOT_NUMBER, code: undefined, a: 70 })
    closeSync(fd)
  })

  test('but only what it named once the log has rolled: the rest lies in another file', async () => {
    const fixture = start('flusher')
    fixture.serve()
    const fd = segment(fixture, 100)
    publish(fixture, 70, 55)
    fixture.order({ kind: ORDER.flush, fd, a: 50, b: 0 })
    expect(await fixture.reply()).toMatchObject({ code: undefined, a: 50 })
    closeSync(fd)
  })

  test('a descriptor that cannot be flushed is FLUSH_FAILED, and the next order is carried out', async () => {
    const fixture = start('flusher')
    fixture.serve()
    fixture.order({ kind: ORDER.flush, fd: 9_999, a: 50, b: 0 })
    expect(await fixture.reply()).toMatchObject({ code: 'FLUSH_FAILED', a: 0 })
    const fd = segment(fixture, 10)
    publish(fixture, 3, 0)
    fixture.order({ kind: ORDER.flush, fd, a: 3, b: 0 })
    expect(await fixture.reply()).toMatchObject({ code: undefined, a: 3 })
    closeSync(fd)
  })

  test('a seal cuts the file to its content, unmaps and closes it', async () => {
    const fixture = start('flusher')
    fixture.serve()
    const fd = segment(fixture, 65_536)
    const mapping = Mapping.ofFile(fd, 65_536, true)
    mapping.region.bytes.write('content')
    fixture.order({ kind: ORDER.seal, fd, a: 7, b: Number(mapping.address), c: 65_536 })
    expect(await fixture.reply()).toMatchObject({ kind: ORDER.seal, code: undefined })
    expect(readFileSync(logPath(fixture), 'utf8')).toBe('content')
    expect(isOpen(fd)).toBe(false)
    expect(readFileSync('/proc/self/maps', 'latin1')).not.toContain(logPath(fixture))
  })

  test('orders are answered in their order, and those that came before the news of their partition as well', async () => {
    const fixture = start('flusher')
    const fds = [0, 1, 2, 3].map(i => segment(fixture, 10, i * 100))
    for (const [i, fd] of fds.entries()) fixture.order({ kind: ORDER.flush, fd, a: i + 1, b: i * 100 })
    fixture.serve()
    for (const i of fds.keys()) expect(await fixture.reply()).toMatchObject({ a: i + 1, code: undefined })
    for (const fd of fds) closeSync(fd)
  })

  test('orders of a topic that is being deleted are carried out without its folder', async () => {
    const fixture = start('flusher')
    const fd = segment(fixture, 10)
    fixture.order({ kind: ORDER.flush, fd, a: 4, b: 0, slotGeneration: 999 })
    expect(await fixture.reply()).toMatchObject({ code: undefined, slotGeneration: 999 })
    closeSync(fd)
  })
})

describe('janitor', () => {
  test('allocates blocks, brings zeros into memory and answers how far it came', async () => {
    const fixture = start('janitor')
    const bytes = 256 * 1024
    const fd = segment(fixture, 1_048_576)
    const mapping = Mapping.ofFile(fd, 1_048_576, true)
    fixture.order({ kind: ORDER.allocate, fd, a: 5_000, b: bytes, c: Number(mapping.address) })
    expect(await fixture.reply()).toMatchObject({ kind: ORDER.allocate, code: undefined, a: bytes, c: 1 })
    const { size, blocks } = statSync(logPath(fixture))
    expect(size).toBe(1_048_576) // never longer than it was made
    expect(blocks * 512).toBeGreaterThanOrEqual(bytes - 8_192)
    expect(mapping.region.bytes.subarray(0, bytes).every(byte => byte === 0)).toBe(true)
    mapping.release()
    closeSync(fd)
  })

  test('what lies below the window is not touched', async () => {
    const fixture = start('janitor')
    const fd = segment(fixture, 1_048_576)
    const mapping = Mapping.ofFile(fd, 1_048_576, true)
    mapping.region.bytes.fill('x', 0, 5_000)
    fixture.order({ kind: ORDER.allocate, fd, a: 5_000, b: 131_072, c: Number(mapping.address) })
    await fixture.reply()
    expect(mapping.region.bytes.toString('latin1', 0, 5_001)).toBe(`${'x'.repeat(5_000)}\0`)
    mapping.release()
    closeSync(fd)
  })

  test('a large window is answered in pieces, the last one marked', async () => {
    const fixture = start('janitor')
    const bytes = 10 * 2 ** 20
    const fd = segment(fixture, bytes)
    const mapping = Mapping.ofFile(fd, bytes, true)
    fixture.order({ kind: ORDER.allocate, fd, a: 0, b: bytes, c: Number(mapping.address), status: ALLOCATE_FLAG.sync })
    const pieces: [number, number][] = []
    do {
      const { a, c, code } = await fixture.reply()
      expect(code).toBe(undefined)
      pieces.push([a / 2 ** 20, c])
    } while (pieces.at(-1)?.[1] !== 1)
    expect(pieces).toEqual([
      [4, 0],
      [8, 0],
      [10, 1],
    ])
    mapping.release()
    closeSync(fd)
  })

  test('a failure is answered with its code and what was reached, and the next order is carried out', async () => {
    const fixture = start('janitor')
    fixture.order({ kind: ORDER.allocate, fd: 9_999, a: 4_096, b: 8_192, c: 0 })
    expect(await fixture.reply()).toMatchObject({ code: 'IO_ERROR', a: 4_096, c: 1 })
    const fd = segment(fixture, 8_192)
    const mapping = Mapping.ofFile(fd, 8_192, true)
    fixture.order({ kind: ORDER.allocate, fd, a: 0, b: 8_192, c: Number(mapping.address) })
    expect(await fixture.reply()).toMatchObject({ code: undefined, a: 8_192 })
    mapping.release()
    closeSync(fd)
  })

  test('removes the files of a segment, whatever of them there is, and answers nothing', async () => {
    const fixture = start('janitor')
    fixture.serve()
    for (const name of ['log', 'index', 'timeindex'] as const)
      writeFileSync(join(fixture.partitionFolder, segmentFileName(7, name)), 'x')
    writeFileSync(logPath(fixture, 8), 'kept')
    fixture.order({ kind: ORDER.remove, a: 7 })
    fixture.order({ kind: ORDER.remove, a: 7 }) // nothing is left: that is fine
    fixture.order({ kind: ORDER.remove, a: 8, slotGeneration: 999 }) // of a partition that is not served
    const fd = segment(fixture, 4_096, 9)
    const mapping = Mapping.ofFile(fd, 4_096, true)
    fixture.order({ kind: ORDER.allocate, fd, a: 0, b: 4_096, c: Number(mapping.address) })
    expect(await fixture.reply()).toMatchObject({ kind: ORDER.allocate })
    expect(readdirSync(fixture.partitionFolder).sort()).toEqual([segmentFileName(8, 'log'), segmentFileName(9, 'log')])
    expect(fixture.events).toEqual([])
    mapping.release()
    closeSync(fd)
  })
})

describe('every loop', () => {
  test('answers mail it does not know with an error, and ends when it is told to', async () => {
    for (const service of ['flusher', 'janitor', 'indexer'] as const) {
      const fixture = start(service)
      const answer = await fixture.ask({ kind: 'retention', nowMs: 0 })
      expect(answer.error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { mail: 'retention' } })
      expect((await fixture.ask({ kind: 'settle' })).error).toBe(undefined)
    }
  })

  test('forgets a partition that is detached', async () => {
    const fixture = start('janitor')
    fixture.serve()
    await fixture.ask({ kind: 'detach', slot: SLOT_NUMBER, cut: false })
    writeFileSync(logPath(fixture, 7), 'kept')
    fixture.order({ kind: ORDER.remove, a: 7 })
    await fixture.ask({ kind: 'settle' })
    expect(existsSync(logPath(fixture, 7))).toBe(true)
  })

  test('drains what a dead writer still ordered, and closes what it had open', async () => {
    const fixture = start('flusher')
    fixture.serve()
    const [sealed, left] = [segment(fixture, 65_536), segment(fixture, 65_536, 100)]
    writeSync(sealed, 'sealed')
    const mappings = [sealed, left].map(fd => Mapping.ofFile(fd, 65_536, true))
    fixture.order({ kind: ORDER.seal, fd: sealed, a: 6, b: Number(mappings[0]?.address), c: 65_536 })
    const address = Number(mappings[1]?.address)
    const { serviceRingBuffer } = await import('../../engine/memory/service-ring.ts')
    await fixture.ask({
      kind: 'rings',
      writer: 0,
      ring: serviceRingBuffer(),
      left: [{ fd: left, address, mappedBytes: 65_536 }],
    })
    expect([isOpen(sealed), isOpen(left)]).toEqual([false, false])
    expect(readFileSync(logPath(fixture), 'utf8')).toBe('sealed')
  })
})
