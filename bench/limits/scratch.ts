/**
 * The prefaulted file mapping that the limits write to and read from: one file per run, created once, mapped once and kept,
 * because a page that the machine has to find anew costs more than everything that is measured here. Main thread. The
 * file has no name once it is mapped, so a killed run leaves nothing behind. Frozen: no engine code.
 */
import { closeSync, ftruncateSync, openSync, statfsSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import koffi from 'koffi'

const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MADV_POPULATE_WRITE = 23
const MAP_FAILED = 0xffff_ffff_ffff_ffffn
const PAGE_BYTES = 4096

/** As much as the log of the lookup cases holds. */
export const SCRATCH_BYTES = 1024 * 1024 * 1024

const libc = koffi.load(null)
const mmap = libc.func('void *mmap(void *addr, size_t len, int prot, int flags, int fd, int64_t off)')
const munmap = libc.func('int munmap(void *addr, size_t len)')
const madvise = libc.func('int madvise(void *addr, size_t len, int advice)')

export class Scratch {
  readonly bytes: Buffer
  readonly view: DataView
  readonly #address: bigint
  readonly #length: number

  /** @throws when the folder's disk has no room: a store into a mapping of a full disk would end the process */
  constructor(directory: string, length = SCRATCH_BYTES) {
    const disk = statfsSync(directory)
    if (disk.bavail * disk.bsize < length * 1.1) {
      throw new Error(`${directory} has no room for ${length} bytes; choose another folder with --dir`)
    }
    const path = join(directory, 'scratch')
    const fd = openSync(path, 'w+')
    try {
      ftruncateSync(fd, length)
      this.#address = mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0) as bigint
      if (this.#address === MAP_FAILED) throw new Error(`mmap of ${length} bytes failed: errno ${koffi.errno()}`)
    } finally {
      closeSync(fd)
      unlinkSync(path)
    }
    this.#length = length
    const memory = koffi.view(this.#address, length)
    this.bytes = Buffer.from(memory)
    this.view = new DataView(memory)
    this.prefault(0, length)
  }

  /**
   * Makes pages present and writable again. Needed before every round: the kernel writes dirty pages back after a while and
   * then takes a fault on the next store into each.
   */
  prefault(at: number, end: number): void {
    const start = at - (at % PAGE_BYTES)
    if (madvise(this.#address + BigInt(start), end - start, MADV_POPULATE_WRITE) === 0) return
    for (let page = start; page < end; page += PAGE_BYTES) this.bytes[page] = this.bytes[page] as number
  }

  /** Gives the memory and the disk space back. Nothing may touch `bytes` or `view` afterwards. */
  close(): void {
    munmap(this.#address, this.#length)
  }
}
