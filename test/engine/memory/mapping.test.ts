import { spawn } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { CONTROL_FILE, createEngineMemory } from '../../../engine/memory/engine-memory.ts'
import { PAGE_BYTES, punchHole } from '../../../engine/memory/libc.ts'
import { foreignRegion, Mapping, mappingStatistics } from '../../../engine/memory/mapping.ts'
import { makeFolder, mountTmpfs } from './folders.ts'

const folder = makeFolder()
let fileCount = 0
const newPath = (): string => join(folder, `${fileCount++}.log`)

const open: Mapping[] = []
const keep = (mapping: Mapping): Mapping => {
  open.push(mapping)
  return mapping
}
afterEach(() => {
  for (const mapping of open.splice(0)) mapping.release()
  const { mappedBytes, pinnedBytes } = mappingStatistics()
  expect(mappedBytes).toBe(pinnedBytes) // what is left waits for its windows to be collected
})

/** Windows that are kept, so that no collection changes the counts while a test looks at them. */
const windows: ArrayBuffer[] = []

const isLinux = process.platform === 'linux'

interface Ended {
  readonly lines: unknown[]
  readonly code: number | null
  readonly signal: string | null
  readonly errors: string
}

/** Runs a scenario of mapping-program.ts to its end. */
function run(scenario: string): Promise<Ended> {
  const at = mkdtempSync(join(folder, 'run-'))
  const program = fileURLToPath(new URL('./mapping-program.ts', import.meta.url))
  const child = spawn(process.execPath, ['--expose-gc', program, scenario, at], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let errors = ''
  child.stdout.on('data', chunk => {
    out += chunk
  })
  child.stderr.on('data', chunk => {
    errors += chunk
  })
  return new Promise(resolve => {
    child.once('close', (code, signal) => {
      const lines = out.split('\n').flatMap(line => (line === '' ? [] : [JSON.parse(line) as unknown]))
      resolve({ lines, code, signal, errors })
    })
  })
}

/** The report of a scenario that ends well. */
async function report(scenario: string): Promise<unknown> {
  const { lines, code, signal, errors } = await run(scenario)
  expect({ code, signal, errors }).toMatchObject({ code: 0, signal: null })
  return lines.at(-1)
}

describe('files', () => {
  test('a created file has its length, reads as zeros and shows what is stored', () => {
    const path = newPath()
    const mapping = keep(Mapping.create(path, 10_000))
    expect([statSync(path).size, mapping.bytes, mapping.region.length]).toEqual([10_000, 10_000, 10_000])
    expect(mapping.region.bytes.every(byte => byte === 0)).toBe(true)
    mapping.region.bytes.write('stored', 9_994)
    mapping.region.view.setUint32(0, 0xcafe_f00d)
    const bytes = readFileSync(path)
    expect(bytes.subarray(9_994).toString()).toBe('stored')
    expect(bytes.readUInt32BE()).toBe(0xcafe_f00d)
    mapping.release()
    expect(readFileSync(path)).toEqual(bytes)
  })

  test('a file that was there keeps its bytes and is made as long as asked', () => {
    const path = newPath()
    writeFileSync(path, 'abcdef')
    const longer = keep(Mapping.create(path, 5_000))
    expect(longer.region.bytes.subarray(0, 8).toString('latin1')).toBe('abcdef\0\0')
    longer.release()
    const shorter = keep(Mapping.create(path, 3))
    expect(shorter.region.bytes.toString()).toBe('abc')
    expect(statSync(path).size).toBe(3)
  })

  test.runIf(isLinux)('disk blocks are reserved only when asked', () => {
    const blocks = (reserve: boolean): number => {
      const path = newPath()
      keep(Mapping.create(path, 1 << 20, reserve))
      return statSync(path).blocks * 512
    }
    expect(blocks(false)).toBeLessThan(1 << 20)
    expect(blocks(true)).toBeGreaterThanOrEqual(1 << 20)
  })

  test('two mappings of a file and its descriptor show the same bytes', () => {
    const path = newPath()
    const writer = keep(Mapping.create(path, 8_192))
    const reader = keep(Mapping.ofPath(path, 8_192))
    writer.region.bytes[5_000] = 42
    expect(reader.region.bytes[5_000]).toBe(42)
    const fd = openSync(path, 'r+')
    writeSync(fd, 'by descriptor', 100)
    closeSync(fd)
    expect(reader.region.bytes.subarray(100, 113).toString()).toBe('by descriptor')
    const other = foreignRegion(writer.address, 8_192)
    expect(other.bytes[5_000]).toBe(42)
    other.bytes[5_001] = 43
    expect(reader.region.bytes[5_001]).toBe(43)
  })

  test('the descriptor may be closed and the file unlinked under a mapping', () => {
    const path = newPath()
    writeFileSync(path, Buffer.alloc(4_096, 7))
    const fd = openSync(path, 'r')
    const mapping = keep(Mapping.ofFile(fd, 4_096, false))
    closeSync(fd)
    unlinkSync(path)
    expect(mapping.region.bytes.every(byte => byte === 7)).toBe(true)
  })

  test('a file that is not there, or cannot be opened, is a typed error with its path and cause', () => {
    const missing = newPath()
    for (const make of [() => Mapping.ofPath(missing, 1), () => Mapping.create(join(missing, 'below'), 1)]) {
      expect(make).toThrow(
        expect.objectContaining({
          code: 'IO_ERROR',
          details: expect.objectContaining({ path: expect.stringContaining(missing) }),
          cause: expect.objectContaining({ code: 'ENOENT' }),
        }),
      )
    }
    expect(() => Mapping.create(folder, 1)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }))
  })

  test('a file shorter than its mapping would be is refused: touching it would end the process', () => {
    const path = newPath()
    writeFileSync(path, 'short')
    expect(() => Mapping.ofPath(path, 6)).toThrow(
      expect.objectContaining({ code: 'IO_ERROR', details: { path, bytes: 6, fileBytes: 5 } }),
    )
    expect(keep(Mapping.ofPath(path, 5)).region.bytes.toString()).toBe('short')
    expect(() => Mapping.ofPath(path, 0)).toThrow('empty file')
  })

  test('a file is mapped as long as it is, and an empty one not at all', () => {
    const path = newPath()
    expect(() => Mapping.ofWhole(path)).toThrow(
      expect.objectContaining({ code: 'IO_ERROR', cause: expect.objectContaining({ code: 'ENOENT' }) }),
    )
    writeFileSync(path, '')
    expect(Mapping.ofWhole(path)).toBeUndefined()
    writeFileSync(path, 'x'.repeat(5_000))
    const mapping = keep(Mapping.ofWhole(path) as Mapping)
    expect([mapping.bytes, mapping.region.bytes.toString()]).toEqual([5_000, 'x'.repeat(5_000)])
    expect(() => mapping.prefault(0, 1)).toThrow('only a writable mapping') // it is for reading
  })

  test('a punched hole reads as zeros through a mapping and leaves the rest and the length alone', () => {
    const path = newPath()
    const bytes = Buffer.alloc(64 * 1_024, 0xee)
    writeFileSync(path, bytes)
    const mapping = keep(Mapping.ofPath(path, bytes.length))
    const window = new Uint8Array(mapping.lend(0, bytes.length))
    windows.push(window.buffer)
    expect(window[20_000]).toBe(0xee)
    const fd = openSync(path, 'r+')
    const punched = punchHole(fd, 5_000, 30_001)
    closeSync(fd)
    if (!punched) return // a file system without holes: the caller writes zeros
    bytes.fill(0, 5_000, 35_001)
    expect(Buffer.from(window)).toEqual(bytes)
    expect(readFileSync(path)).toEqual(bytes)
  })
})

describe('windows and statistics', () => {
  test('a released mapping lends nothing and shows nothing', () => {
    const mapping = Mapping.anonymous(4_096)
    mapping.release()
    mapping.release()
    expect(() => mapping.region).toThrow('not touched')
    expect(() => mapping.lend(0, 1)).toThrow('inside its mapping')
    expect(() => mapping.prefault(0, 1)).toThrow('faulted in')
  })

  test('a window lies inside its mapping', () => {
    const mapping = keep(Mapping.anonymous(8_192))
    for (const [at, length] of [
      [-1, 10],
      [0, 8_193],
      [8_192, 1],
      [4_096, 4_097],
    ] as const) {
      expect(() => mapping.lend(at, length)).toThrow('inside its mapping')
    }
    mapping.region.bytes[8_191] = 9
    windows.push(mapping.lend(8_190, 2), mapping.lend(5, 100))
    expect([...new Uint8Array(windows.at(-2) as ArrayBuffer)]).toEqual([0, 9])
    expect(windows.at(-1)?.byteLength).toBe(100)
  })

  test('mapped and pinned bytes are counted', () => {
    const before = mappingStatistics()
    const since = (): number[] => {
      const { mappedBytes, pinnedBytes } = mappingStatistics()
      return [mappedBytes - before.mappedBytes, pinnedBytes - before.pinnedBytes]
    }
    const first = Mapping.anonymous(4_096)
    const second = Mapping.anonymous(10_000)
    expect(since()).toEqual([14_096, 0])
    windows.push(second.lend(0, 10))
    first.release()
    first.release()
    expect(since()).toEqual([10_000, 0])
    second.release()
    second.release()
    expect(since()).toEqual([10_000, 10_000])
  })

  test('a lent window cannot be handed to another thread: transferring it is refused', () => {
    const mapping = keep(Mapping.anonymous(4_096))
    const window = mapping.lend(0, 4_096)
    windows.push(window)
    expect(() => structuredClone(window, { transfer: [window] })).toThrow('transfer')
  })
})

describe('prefault', () => {
  /** Pages of this process that the kernel holds for the mapping at `address`. */
  function residentKib(address: bigint): number {
    const smaps = readFileSync('/proc/self/smaps', 'utf8')
    const from = smaps.indexOf(`\n${address.toString(16)}-`)
    return Number(/^Rss:\s+(\d+) kB/m.exec(smaps.slice(from))?.[1])
  }

  test.runIf(isLinux)('pages are there before the first store, and only those asked for', () => {
    const mapping = keep(Mapping.create(newPath(), 256 * PAGE_BYTES))
    expect(residentKib(mapping.address)).toBe(0)
    mapping.prefault(10 * PAGE_BYTES + 5, 12 * PAGE_BYTES + 1) // into three pages
    expect(residentKib(mapping.address)).toBe((3 * PAGE_BYTES) / 1_024)
    mapping.prefault(0, 256 * PAGE_BYTES)
    expect(residentKib(mapping.address)).toBe((256 * PAGE_BYTES) / 1_024)
  })

  test('it changes no byte, may be asked beyond the end, and for nothing', () => {
    const path = newPath()
    const bytes = Buffer.from(Array.from({ length: 10_001 }, (_, index) => index))
    writeFileSync(path, bytes)
    const mapping = keep(Mapping.ofPath(path, bytes.length, true))
    mapping.prefault(0, 0)
    mapping.prefault(0, 10_001)
    mapping.prefault(4_000, 1_000_000)
    mapping.prefault(20_000, 30_000)
    expect(readFileSync(path)).toEqual(bytes)
  })

  test('of a read-only mapping it is a bug: the fallback would end the process', () => {
    const path = newPath()
    writeFileSync(path, 'x')
    expect(() => keep(Mapping.ofPath(path, 1)).prefault(0, 1)).toThrow('only a writable mapping')
  })

  test.runIf(isLinux)('of pages that the file has lost it is an error, not the end of the process', () => {
    const path = newPath()
    const mapping = keep(Mapping.create(path, 4 * PAGE_BYTES))
    const fd = openSync(path, 'r+')
    ftruncateSync(fd, PAGE_BYTES)
    closeSync(fd)
    expect(() => mapping.prefault(PAGE_BYTES, 2 * PAGE_BYTES)).toThrow(
      expect.objectContaining({ code: 'IO_ERROR', details: expect.objectContaining({ call: 'madvise' }) }),
    )
  })
})

describe.runIf(isLinux)('in a process of its own', () => {
  const BYTES = 1 << 20

  test('lent windows keep a released mapping of a deleted file until the last of them is collected', async () => {
    expect(await report('lent windows')).toEqual({
      before: { mappedBytes: BYTES, pinnedBytes: 0 },
      released: { mappedBytes: BYTES, pinnedBytes: BYTES },
      bothRead: true,
      afterFirst: 1,
      secondReads: true,
      gone: true,
      after: { mappedBytes: 0, pinnedBytes: 0 },
    })
  })

  test('windows that are collected take nothing from the owner, who unmaps at once', async () => {
    expect(await report('owner last')).toEqual({
      held: 1,
      reads: true,
      before: { mappedBytes: BYTES, pinnedBytes: 0 },
      after: 0,
      statistics: { mappedBytes: 0, pinnedBytes: 0 },
    })
  })

  test('threads of worker loops leave nothing mapped when they end', async () => {
    expect(await report('ending threads')).toEqual({ left: 0 })
  })

  test("an engine's memory stays mapped while anything looks at it", async () => {
    expect(await report('engine memory')).toEqual({ whileLookedAt: 1, gone: true })
  })

  test('a reader cannot change a log: the store ends its process', async () => {
    const { lines, signal } = await run('store into a read-only mapping')
    expect(lines).toEqual([{ reads: true }])
    expect(signal).toBe('SIGSEGV')
  })
})

describe('a full disk', () => {
  const disk = mountTmpfs(1 << 20) ?? ''
  const on = test.skipIf(disk === '')

  on('it is a file system of its own', () => {
    expect(statSync(disk).dev).not.toBe(statSync(folder).dev)
  })

  on('reserving is refused with DISK_FULL, what is there goes on, and works again once there is room', () => {
    const first = keep(Mapping.create(join(disk, 'first.log'), 512 << 10, true))
    first.region.bytes.fill(1)
    expect(() => Mapping.create(join(disk, 'second.log'), 1 << 20, true)).toThrow(
      expect.objectContaining({
        code: 'DISK_FULL',
        retriable: true,
        details: expect.objectContaining({ call: 'fallocate', errno: 'ENOSPC', bytes: 1 << 20 }),
      }),
    )
    expect(first.region.bytes.every(byte => byte === 1)).toBe(true)
    first.region.bytes.fill(2) // reserved blocks can be stored to on a full disk
    first.release()
    unlinkSync(join(disk, 'first.log'))
    const second = keep(Mapping.create(join(disk, 'second.log'), 768 << 10, true))
    second.region.bytes.fill(3)
    second.release()
    unlinkSync(join(disk, 'second.log'))
  })

  on('prefaulting what was not reserved is an error, not the end of the process', () => {
    const path = join(disk, 'sparse.log')
    const mapping = keep(Mapping.create(path, 4 << 20))
    expect(() => mapping.prefault(0, 4 << 20)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^(IO_ERROR|DISK_FULL)$/) }),
    )
    mapping.release()
    unlinkSync(path)
  })

  on('a control file that does not fit leaves nothing behind', () => {
    expect(() => createEngineMemory(disk)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
    expect(readdirSync(disk)).toEqual([])
    const rest = keep(Mapping.create(join(disk, 'rest.log'), 960 << 10, true)) // all of it is free again
    rest.release()
  })
})

describe('a nearly full disk', () => {
  const disk = mountTmpfs(12 << 20) ?? ''

  test.skipIf(disk === '')('a control file is made anew where there is no room for two of them', () => {
    const { path } = createEngineMemory(disk)
    const { size, ino } = statSync(path)
    expect(2 * size).toBeGreaterThan(12 << 20) // else this shows nothing
    const again = createEngineMemory(disk)
    expect(again.path).toBe(path)
    expect(statSync(path).ino).not.toBe(ino)
    expect(readdirSync(disk)).toEqual([CONTROL_FILE])
    // Whoever still has the old one mapped keeps its blocks: that is a full disk.
    const old = keep(Mapping.ofWhole(path) as Mapping)
    expect(() => createEngineMemory(disk)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
    expect(old.region.bytes.subarray(0, 8).every(byte => byte === 0)).toBe(false)
    old.release()
    expect(createEngineMemory(disk).path).toBe(path)
  })
})
