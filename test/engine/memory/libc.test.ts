import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import {
  allocate,
  allowCpus,
  allowedCpus,
  currentCpu,
  mapAnonymous,
  mapFile,
  PAGE_BYTES,
  pageCeil,
  pageFloor,
  prefaultForWrite,
  punchHole,
  tryLock,
  unmap,
  viewOf,
} from '../../../engine/memory/libc.ts'
import { makeFolder } from './folders.ts'
import { printSeed } from './threads.ts'

const seed = testSeed()
beforeEach(printSeed(seed))

const folder = makeFolder()
const isLinux = process.platform === 'linux'

const descriptors: number[] = []
function open(path: string, flags: string): number {
  const fd = openSync(path, flags)
  descriptors.push(fd)
  return fd
}
afterEach(() => {
  for (const fd of descriptors.splice(0)) closeSync(fd)
})

let fileCount = 0
function newFile(bytes: Uint8Array | string = ''): string {
  const path = join(folder, `${fileCount++}.bin`)
  writeFileSync(path, bytes)
  return path
}

const failure = (call: string, errno: string) =>
  expect.objectContaining({ code: 'IO_ERROR', details: expect.objectContaining({ call, errno }) })

test('pages are rounded to', () => {
  expect(PAGE_BYTES).toBeGreaterThanOrEqual(4_096)
  expect(PAGE_BYTES & (PAGE_BYTES - 1)).toBe(0)
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 40 }), position => {
      const [floor, ceil] = [pageFloor(position), pageCeil(position)]
      expect(floor % PAGE_BYTES).toBe(0)
      expect(ceil % PAGE_BYTES).toBe(0)
      expect(floor <= position && position < floor + PAGE_BYTES).toBe(true)
      expect(ceil >= position && ceil - position < PAGE_BYTES).toBe(true)
    }),
  )
  expect([pageFloor(0), pageCeil(0), pageCeil(1), pageFloor(PAGE_BYTES)]).toEqual([0, 0, PAGE_BYTES, PAGE_BYTES])
})

describe('mapping', () => {
  test('every view of an address shows the same bytes', () => {
    const address = mapAnonymous(2 * PAGE_BYTES)
    const first = new Uint8Array(viewOf(address, 2 * PAGE_BYTES))
    const second = new Uint8Array(viewOf(address + BigInt(PAGE_BYTES), 16))
    expect(first.every(byte => byte === 0)).toBe(true)
    first[PAGE_BYTES + 3] = 5
    expect([...second.subarray(0, 4)]).toEqual([0, 0, 0, 5])
    unmap(address, 2 * PAGE_BYTES)
  })

  test('what the kernel refuses is a typed error with the call and its errno', () => {
    expect(() => mapFile(-1, 10, false)).toThrow(failure('mmap', 'EBADF'))
    expect(() => mapFile(open(newFile('abc'), 'r'), 3, true)).toThrow(failure('mmap', 'EACCES'))
    expect(() => mapFile(open(newFile('abc'), 'r'), 0, false)).toThrow(failure('mmap', 'EINVAL'))
    expect(() => mapAnonymous(2 ** 50)).toThrow(failure('mmap', 'ENOMEM'))
    expect(() => unmap(1n, 10)).toThrow(failure('munmap', 'EINVAL'))
  })
})

describe.runIf(isLinux)('disk blocks', () => {
  test('allocation reserves, grows the file if need be, and changes no byte', () => {
    const path = newFile('some bytes')
    const fd = open(path, 'r+')
    allocate(fd, 0, 100_000)
    expect(statSync(path).size).toBe(100_000)
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(100_000)
    expect(readFileSync(path, 'latin1').replaceAll('\0', '')).toBe('some bytes')
    allocate(fd, 50, 10)
    expect(statSync(path).size).toBe(100_000)
  })

  test('what cannot be allocated is a typed error', () => {
    expect(() => allocate(-1, 0, 1)).toThrow(failure('fallocate', 'EBADF'))
    expect(() => allocate(open(newFile(), 'r'), 0, 1)).toThrow(failure('fallocate', 'EBADF'))
    expect(() => allocate(open(newFile(), 'r+'), 0, 0)).toThrow(failure('fallocate', 'EINVAL'))
    expect(() => allocate(open(newFile(), 'r+'), 0, 2 ** 52)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ errno: expect.stringMatching(/^(EFBIG|ENOSPC)$/) }),
      }),
    )
  })

  test('holes read as zeros, give blocks back, and keep the length, also over the end of the file', () => {
    const random = new Random(seed)
    const bytes = Buffer.from(random.bytes(200_000))
    const path = newFile(bytes)
    const fd = open(path, 'r+')
    if (!punchHole(fd, 0, 1)) return // a file system without holes says so
    bytes.fill(0, 0, 1)
    const before = statSync(path).blocks
    for (let hole = 0; hole < 20; hole++) {
      const at = random.below(bytes.length)
      const length = random.between(1, 60_000)
      expect(punchHole(fd, at, length)).toBe(true)
      bytes.fill(0, at, Math.min(at + length, bytes.length))
      expect(readFileSync(path).equals(bytes)).toBe(true)
    }
    expect(punchHole(fd, 0, 300_000)).toBe(true)
    expect(readFileSync(path).equals(Buffer.alloc(200_000))).toBe(true)
    expect(statSync(path).blocks).toBeLessThan(before)
  })

  test('a hole that cannot be punched for another reason is a typed error', () => {
    expect(() => punchHole(-1, 0, 1)).toThrow(failure('fallocate', 'EBADF'))
    expect(() => punchHole(open(newFile('x'), 'r'), 0, 1)).toThrow(failure('fallocate', 'EBADF'))
  })
})

test('faulting in changes no byte, by either way', () => {
  const random = new Random(seed)
  const bytes = Buffer.from(random.bytes(5 * PAGE_BYTES))
  const path = newFile(bytes)
  const address = mapFile(open(path, 'r+'), bytes.length, true)
  prefaultForWrite(address, bytes.length)
  // madvise refuses an address inside a page as an old kernel refuses the advice: this is the way that touches each page.
  prefaultForWrite(address + 3n, bytes.length - 3)
  prefaultForWrite(address + 5n, 1)
  expect(Buffer.from(viewOf(address, bytes.length)).equals(bytes)).toBe(true)
  unmap(address, bytes.length)
  expect(readFileSync(path).equals(bytes)).toBe(true)
})

describe('locks', () => {
  test('one open of a file excludes another, shared ones do not exclude each other, and closing gives the lock back', () => {
    const path = newFile()
    const [first, second, third] = [openSync(path, 'r+'), openSync(path, 'r'), openSync(path, 'r')]
    expect(tryLock(first, 'exclusive')).toBe(true)
    expect(tryLock(first, 'exclusive')).toBe(true) // it has it
    expect([tryLock(second, 'exclusive'), tryLock(second, 'shared')]).toEqual([false, false])
    closeSync(first)
    expect([tryLock(second, 'shared'), tryLock(third, 'shared')]).toEqual([true, true])
    expect(tryLock(third, 'exclusive')).toBe(false)
    closeSync(second)
    expect(tryLock(third, 'exclusive')).toBe(true)
    closeSync(third)
    expect(() => tryLock(-1, 'shared')).toThrow(failure('flock', 'EBADF'))
  })

  /** A process that tries to take the lock of the file `lock` in `at`, and says in lines of JSON how it goes. */
  function locker(at: string): { child: ChildProcess; line: () => Promise<unknown> } {
    const program = fileURLToPath(new URL('./mapping-program.ts', import.meta.url))
    const child = spawn(process.execPath, [program, 'lock', at], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines: string[] = []
    let rest = ''
    child.stdout?.on('data', chunk => {
      const parts = (rest + String(chunk)).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts)
      child.emit('line')
    })
    const line = async (): Promise<unknown> => {
      while (lines.length === 0) await once(child, 'line', { signal: AbortSignal.timeout(20_000) })
      return JSON.parse(lines.shift() as string)
    }
    return { child, line }
  }

  test('it is exclusive between processes, and given back by close and by kill -9', async () => {
    const at = mkdtempSync(join(folder, 'lock-'))
    const fd = open(join(at, 'lock'), 'a+')
    const first = locker(at)
    const second = locker(at)
    try {
      // Exactly one of the two has it; which one is not ours to say.
      const locked = [await first.line(), await second.line()]
      expect(locked).toContainEqual({ locked: true })
      expect(locked).toContainEqual({ locked: false })
      const [holder, other] = (locked[0] as { locked: boolean }).locked ? [first, second] : [second, first]
      expect(tryLock(fd, 'exclusive')).toBe(false)
      other.child.kill('SIGKILL') // it had nothing to give back
      await once(other.child, 'exit')
      expect([tryLock(fd, 'exclusive'), tryLock(fd, 'shared')]).toEqual([false, false])
      holder.child.kill('SIGKILL')
      await once(holder.child, 'exit')
      expect(tryLock(fd, 'exclusive')).toBe(true)
    } finally {
      first.child.kill('SIGKILL')
      second.child.kill('SIGKILL')
    }
    closeSync(descriptors.pop() as number)
    const third = locker(at)
    try {
      expect(await third.line()).toEqual({ locked: true })
      const again = open(join(at, 'lock'), 'a+')
      expect(tryLock(again, 'exclusive')).toBe(false)
      third.child.stdin?.write('close\n')
      expect(await third.line()).toEqual({ closed: true })
      expect(tryLock(again, 'exclusive')).toBe(true)
    } finally {
      third.child.kill('SIGKILL')
    }
  })
})

describe('processors', () => {
  const cpusOf = (set: Uint8Array): number[] =>
    Array.from({ length: set.length * 8 }, (_, cpu) => cpu).filter(cpu => ((set[cpu >> 3] ?? 0) >> (cpu & 7)) & 1)

  test.runIf(isLinux)('a thread is where it is allowed to be, and moves at once when that changes', () => {
    const allowed = allowedCpus()
    const cpus = cpusOf(allowed)
    expect(cpus).toContain(currentCpu())
    try {
      for (const cpu of cpus) {
        const one = new Uint8Array(allowed.length)
        one[cpu >> 3] = 1 << (cpu & 7)
        expect(allowCpus(one)).toBe(true)
        expect(currentCpu()).toBe(cpu)
        expect(cpusOf(allowedCpus())).toEqual([cpu])
      }
    } finally {
      expect(allowCpus(allowed)).toBe(true)
    }
    expect(cpusOf(allowedCpus())).toEqual(cpus)
  })

  test.runIf(isLinux)('an empty set is refused', () => {
    expect(allowCpus(new Uint8Array(allowedCpus().length))).toBe(false)
  })

  test.skipIf(isLinux)('elsewhere nothing is known of them', () => {
    expect([currentCpu(), allowedCpus().length, allowCpus(new Uint8Array(1))]).toEqual([-1, 0, false])
  })
})
