/**
 * The system calls that `node:fs` lacks, through koffi: mapping, prefaulting, preallocation, hole punching, locks. The only
 * file that declares foreign functions, and the only one that branches on the operating system. Every call is synchronous
 * (about 0.2 µs of overhead) and throws a typed error that carries the call and its errno.
 */
import koffi from 'koffi'
import { type ErrorDetails, MillraceError } from '../base/errors.ts'

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MAP_FAILED = 0xffff_ffff_ffff_ffffn
const MADV_POPULATE_WRITE = 23
const FALLOC_FL_KEEP_SIZE = 1
const FALLOC_FL_PUNCH_HOLE = 2
const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4
const LOCK_UN = 8
const SYNC_FILE_RANGE_WAIT_BEFORE = 1
const RLIMIT_NOFILE = process.platform === 'darwin' ? 8 : 7
const SC_PAGESIZE = process.platform === 'darwin' ? 29 : 30
const MAP_ANONYMOUS = process.platform === 'darwin' ? 0x1000 : 0x20

const isLinux = process.platform === 'linux'

/** Linux: CLOCK_BOOTTIME. macOS: CLOCK_MONOTONIC, which counts the time asleep there. */
const BOOT_CLOCK = isLinux ? 7 : 6

if (!isLinux && process.platform !== 'darwin') {
  throw new MillraceError('UNSUPPORTED_PLATFORM', { platform: process.platform })
}

const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]))
const lib = koffi.load(null)

const calls = {
  mmap: lib.func('void *mmap(void *address, size_t bytes, int protection, int flags, int fd, int64_t at)'),
  munmap: lib.func('int munmap(void *address, size_t bytes)'),
  madvise: lib.func('int madvise(void *address, size_t bytes, int advice)'),
  flock: lib.func('int flock(int fd, int operation)'),
  getrlimit: lib.func('int getrlimit(int resource, _Out_ void *limit)'),
  clockGettime: lib.func('int clock_gettime(int clock, _Out_ void *time)'),
  sysconf: lib.func('long sysconf(int name)'),
  // macOS has neither call: there a hole is written as zeros and the file system allocates when it is stored to.
  fallocate: isLinux ? lib.func('int fallocate(int fd, int mode, int64_t at, int64_t bytes)') : undefined,
  memcpy: lib.func('void *memcpy(void *target, void *source, size_t bytes)'),
  syncfs: isLinux ? lib.func('int syncfs(int fd)') : undefined,
  syncFileRange: isLinux
    ? lib.func('int sync_file_range(int fd, int64_t at, int64_t bytes, unsigned int flags)')
    : undefined,
  // macOS does not let a thread choose its processor.
  getCpu: isLinux ? lib.func('int sched_getcpu()') : undefined,
  getAffinity: isLinux ? lib.func('int sched_getaffinity(int tid, size_t bytes, _Out_ void *mask)') : undefined,
  setAffinity: isLinux ? lib.func('int sched_setaffinity(int tid, size_t bytes, void *mask)') : undefined,
}

export const PAGE_BYTES = Number(calls.sysconf(SC_PAGESIZE))

/** Descriptors that this process may have open at once. */
export function openFilesMax(): number {
  const limit = new BigUint64Array(2) // now, at most
  if (calls.getrlimit(RLIMIT_NOFILE, limit) !== 0) throw failed('getrlimit', {})
  return Number(limit[0])
}

const bootTime = new BigInt64Array(2) // seconds, nanoseconds

/**
 * Whole milliseconds since the machine booted, the time it slept included: the same in every process, and no step of the wall
 * clock changes it. Cost: 0.2 µs.
 */
export function bootTimeMs(): number {
  if (calls.clockGettime(BOOT_CLOCK, bootTime) !== 0) throw failed('clock_gettime', {})
  return Number(bootTime[0]) * 1000 + Math.floor(Number(bootTime[1]) / 1e6)
}

/** Rounds down, then up, to whole pages. */
export const pageFloor = (position: number): number => position - (position % PAGE_BYTES)
export const pageCeil = (position: number): number => pageFloor(position + PAGE_BYTES - 1)

function failed(call: string, details: ErrorDetails): MillraceError {
  const errno = koffi.errno()
  const name = errnoNames.get(errno) ?? `errno ${errno}`
  const full = name === 'ENOSPC' || name === 'EDQUOT'
  return new MillraceError(full ? 'DISK_FULL' : 'IO_ERROR', { call, errno: name, ...details })
}

/** Maps the first `bytes` of a file, shared. The file must be at least that long before a page is touched. */
export function mapFile(fd: number, bytes: number, writable: boolean): bigint {
  const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
  const address = calls.mmap(null, bytes, protection, MAP_SHARED, fd, 0) as bigint
  if (address === MAP_FAILED) throw failed('mmap', { bytes })
  return address
}

/** Maps zeroed memory that belongs to no file; it is touched, and so charged, page by page. */
export function mapAnonymous(bytes: number): bigint {
  const address = calls.mmap(null, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) as bigint
  if (address === MAP_FAILED) throw failed('mmap', { bytes })
  return address
}

/** No `ArrayBuffer` over the range may be touched any more. */
export function unmap(address: bigint, bytes: number): void {
  if (calls.munmap(address, bytes) !== 0) throw failed('munmap', { bytes })
}

/** An `ArrayBuffer` over mapped memory: no copy, and no hold on the mapping. */
export function viewOf(address: bigint, bytes: number): ArrayBuffer {
  return koffi.view(address, bytes) as ArrayBuffer
}

/** Copies bytes to mapped memory without an `ArrayBuffer` over it. Cost: 0.3 µs more than a copy between buffers. */
export function copyTo(address: bigint, bytes: Uint8Array): void {
  calls.memcpy(address, bytes, bytes.length)
}

/** Faults the pages of a range in for writing, so that the first store into each costs nothing. Whole pages. */
export function prefaultForWrite(address: bigint, bytes: number): void {
  if (isLinux && calls.madvise(address, bytes, MADV_POPULATE_WRITE) === 0) return
  if (isLinux && errnoNames.get(koffi.errno()) !== 'EINVAL') throw failed('madvise', { bytes })
  // Before Linux 5.14, and on macOS: touch each page, without changing what a writer may have put there.
  const touched = new Uint8Array(viewOf(address, bytes))
  for (let at = 0; at < bytes; at += PAGE_BYTES) Atomics.add(touched, at, 0)
}

/** Reserves disk blocks for a range, so that stores into it cannot meet a full disk. Grows the file when it is shorter. */
export function allocate(fd: number, at: number, bytes: number): void {
  if (calls.fallocate === undefined) return
  if (calls.fallocate(fd, 0, at, bytes) !== 0) throw failed('fallocate', { at, bytes })
}

/** Makes a range of a file read as zeros and gives its blocks back; false where the file system cannot. */
export function punchHole(fd: number, at: number, bytes: number): boolean {
  if (calls.fallocate === undefined) return false
  if (calls.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, bytes) === 0) return true
  if (errnoNames.get(koffi.errno()) === 'EOPNOTSUPP') return false
  throw failed('fallocate', { at, bytes })
}

export const CAN_SYNC_FILE_SYSTEM = calls.syncfs !== undefined

/**
 * Makes all that was written to the file system of an open file durable, in one go: hundreds of files for the price of a few.
 * False where the system has no such call. It tells of a write that failed since the descriptor was opened (Linux 5.8), of
 * whichever file.
 */
export function syncFileSystem(fd: number): boolean {
  if (calls.syncfs === undefined) return false
  if (calls.syncfs(fd) !== 0) throw failed('syncfs', {})
  return true
}

/**
 * Waits for what of a file is being written back, and throws if a write of it failed since its descriptor was opened, as
 * `fdatasync` does; only that it makes nothing durable, and asks nothing of the disk. Behind `syncFileSystem`. Linux only.
 */
export function demandWritten(fd: number): void {
  if (calls.syncFileRange?.(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) !== 0) throw failed('sync_file_range', {})
}

/** Takes the advisory lock of an open file; false when another open of it excludes that. Closing the file gives it back. */
export function tryLock(fd: number, kind: 'exclusive' | 'shared'): boolean {
  if (calls.flock(fd, (kind === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return true
  const name = errnoNames.get(koffi.errno())
  if (name === 'EWOULDBLOCK' || name === 'EAGAIN') return false
  throw failed('flock', {})
}

/** Gives the advisory lock of an open file back. */
export function unlock(fd: number): void {
  if (calls.flock(fd, LOCK_UN) !== 0) throw failed('flock', {})
}

// ── processors ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes of a set of processors: 1024 of them, the size of `cpu_set_t`. */
const CPU_SET_BYTES = 128
const CALLING_THREAD = 0

/** Processor that the calling thread runs on, -1 where that is not known. Cost: 16 ns. */
export function currentCpu(): number {
  return calls.getCpu === undefined ? -1 : (calls.getCpu() as number)
}

/** The processors that the calling thread may use, one bit each; empty where that is not known. */
export function allowedCpus(): Uint8Array {
  const set = new Uint8Array(CPU_SET_BYTES)
  if (calls.getAffinity === undefined || calls.getAffinity(CALLING_THREAD, CPU_SET_BYTES, set) < 0)
    return new Uint8Array(0)
  return set
}

/** Lets the calling thread run on these processors only; it moves at once if it has to. False where the system refuses. */
export function allowCpus(set: Uint8Array): boolean {
  return calls.setAffinity !== undefined && calls.setAffinity(CALLING_THREAD, set.length, set) === 0
}
