/**
 * A check of LMDB's data file before LMDB maps it. LMDB trusts its pages: a file that was cut short is a SIGBUS, a
 * damaged page a segmentation fault, and lmdb's native code dies even on a file that is no database at all. So every
 * page that the newest snapshot reaches is walked here with plain reads, and damage becomes CORRUPT_STORE with the page.
 *
 * Layout (LMDB data version 2, little-endian, 64-bit), as far as it is checked:
 *
 *     page    page number u64 | transaction id u64 | pad u16 | flags u16 | lower u16 | upper u16 | (24) body
 *             an overflow page has its number of pages, u32, in place of lower and upper
 *     body    node offsets u16 each, `lower / 2` of them, in key order; they count from the end of the header
 *     node    data size (branch: child page, 48 bits with the flags) u32 | flags u16 | key size u16 | key | data
 *     meta    pages 0 and 1: magic u32 | version u32 | address u64 | map size u64 | free tree | main tree |
 *             last page u64 | transaction id u64; the larger transaction id is the newest snapshot
 *     tree    pad (free tree: page size) u32 | flags u16 | depth u16 | branch, leaf, overflow pages u64 each |
 *             entries u64 | root page u64; in the main tree, each named database is a node whose data is a tree
 *
 * Beside a live owner pages are reused while they are read, so there a finding counts only if no newer snapshot
 * appeared meanwhile. Cost: one read per page in use, about 3 µs; the file holds metadata, not records.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { fileError, MillraceError } from '../base/errors.ts'

const PAGE_HEADER_BYTES = 24
const NODE_HEADER_BYTES = 8
const TREE_BYTES = 48
const META_BYTES = 136
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const NO_PAGE = -1

type TreeKind = 'free' | 'main' | 'named'

const BRANCH = 0x01
const LEAF = 0x02
const OVERFLOW = 0x04
const META = 0x08
const PAGE_KINDS = 0x7f

const BIG_DATA = 0x01
const SUB_TREE = 0x02

/** LMDB's own cursors are no deeper. */
const DEPTH_MAX = 32

/** Tries beside a live owner before the file is taken as sound: its owner checked it when it opened it. */
const SHARED_TRIES = 5

interface Tree {
  readonly depth: number
  readonly entries: number
  readonly root: number
}

interface Snapshot {
  readonly pageBytes: number
  readonly transactionId: number
  readonly free: Tree
  readonly main: Tree
}

/**
 * @param shared true when another process may be writing to the file
 * @returns 'absent' when there is no file or nothing in it
 * @throws CORRUPT_STORE {path, page, reason}, IO_ERROR
 */
export function checkDataFile(path: string, shared: boolean): 'absent' | 'sound' {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent'
    throw fileError(error, { path })
  }
  try {
    if (fstatSync(fd).size === 0) return 'absent'
    for (let tries = shared ? SHARED_TRIES : 1; tries > 0; tries--) {
      const before = shared ? newestTransaction(fd, path) : 0
      try {
        new DataFileWalk(fd, path).walk()
        return 'sound'
      } catch (error) {
        if (!shared || newestTransaction(fd, path) === before) throw error
      }
    }
    return 'sound'
  } catch (error) {
    throw fileError(error, { path })
  } finally {
    closeSync(fd)
  }
}

function newestTransaction(fd: number, path: string): number {
  return new DataFileWalk(fd, path).snapshot().transactionId
}

class DataFileWalk {
  readonly #fd: number
  readonly #path: string
  readonly #fileBytes: number
  #pageBytes = 0
  #seen = new Uint8Array(0)
  #transactionId = 0
  /** The key that the next one of the tree must be above; a branch's separator may also be met. */
  #floor: Buffer | undefined
  #floorMayMatch = false
  /** One page buffer for each level of a tree; deeper levels are read while the upper ones are still being walked. */
  readonly #levels: Buffer[] = []

  constructor(fd: number, path: string) {
    this.#fd = fd
    this.#path = path
    this.#fileBytes = fstatSync(fd).size
  }

  walk(): void {
    const snapshot = this.snapshot()
    this.#pageBytes = snapshot.pageBytes
    this.#transactionId = snapshot.transactionId
    this.#seen = new Uint8Array(Math.ceil(this.#fileBytes / snapshot.pageBytes))
    this.#tree(snapshot.free, 'free')
    this.#tree(snapshot.main, 'main')
  }

  /** The newest snapshot that the two meta pages name. */
  snapshot(): Snapshot {
    const first = this.#meta(0, 0)
    const second = this.#meta(1, first.pageBytes)
    if (second.pageBytes !== first.pageBytes) this.#damaged(1, 'page size')
    return second.transactionId > first.transactionId ? second : first
  }

  #meta(page: number, position: number): Snapshot {
    const bytes = Buffer.alloc(PAGE_HEADER_BYTES + META_BYTES)
    if (!this.#read(bytes, position)) this.#damaged(page, 'meta page is cut short')
    if ((bytes.readUInt16LE(18) & META) === 0 || bytes.readUInt32LE(PAGE_HEADER_BYTES) !== MAGIC) {
      this.#damaged(page, 'not an LMDB file')
    }
    const version = bytes.readUInt32LE(PAGE_HEADER_BYTES + 4) & 0xffff
    if (version !== DATA_VERSION) this.#damaged(page, `LMDB data version ${version}`)
    const pageBytes = bytes.readUInt32LE(48)
    if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0) this.#damaged(page, 'page size')
    return {
      pageBytes,
      transactionId: u64(bytes, 152),
      free: readTree(bytes, 48),
      main: readTree(bytes, 48 + TREE_BYTES),
    }
  }

  #tree(tree: Tree, kind: TreeKind): void {
    if (tree.root === NO_PAGE) {
      if (tree.entries !== 0) this.#damaged(0, 'a tree without a root has entries')
      return
    }
    if (tree.depth < 1 || tree.depth > DEPTH_MAX) this.#damaged(tree.root, 'depth')
    const named: Tree[] = []
    this.#floor = undefined
    const entries = this.#page(tree.root, 1, tree.depth, kind, named)
    if (entries !== tree.entries) this.#damaged(tree.root, 'number of entries')
    for (const child of named) this.#tree(child, 'named')
  }

  /** Walks a page and all below it; returns the number of entries in its leaves. */
  #page(page: number, level: number, depth: number, kind: TreeKind, named: Tree[]): number {
    this.#claim(page, 1)
    const bytes = this.#load(page, level)
    const isLeaf = level === depth
    if ((bytes.readUInt16LE(18) & PAGE_KINDS) !== (isLeaf ? LEAF : BRANCH)) this.#damaged(page, 'kind of page')
    const lower = bytes.readUInt16LE(20)
    const upper = bytes.readUInt16LE(22)
    const bodyBytes = this.#pageBytes - PAGE_HEADER_BYTES
    if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > bodyBytes) this.#damaged(page, 'bounds')
    let entries = 0
    for (let i = 0; i < lower / 2; i++) {
      const at = bytes.readUInt16LE(PAGE_HEADER_BYTES + 2 * i)
      if (at < upper || at + NODE_HEADER_BYTES > bodyBytes) this.#damaged(page, 'node offset')
      const node = PAGE_HEADER_BYTES + at
      const keyEnd = node + NODE_HEADER_BYTES + bytes.readUInt16LE(node + 6)
      if (keyEnd > this.#pageBytes) this.#damaged(page, 'key size')
      // The first separator of a branch stands for "everything below the second" and holds nothing.
      if (isLeaf || i > 0) this.#order(page, bytes.subarray(node + NODE_HEADER_BYTES, keyEnd), isLeaf, kind)
      if (isLeaf) {
        this.#leafNode(page, bytes, node, keyEnd, kind, named)
        entries++
      } else {
        const child = bytes.readUInt32LE(node) + bytes.readUInt16LE(node + 4) * 0x1_0000_0000
        entries += this.#page(child, level + 1, depth, kind, named)
      }
    }
    // The page's buffer is read over for the next page of this level.
    if (isLeaf && this.#floor !== undefined) this.#floor = Buffer.from(this.#floor)
    return entries
  }

  /** Keys ascend through the tree, separators between the leaves that they part: a lookup relies on it. */
  #order(page: number, key: Buffer, isLeaf: boolean, kind: TreeKind): void {
    if (kind === 'free' && key.length !== 8) this.#damaged(page, 'key size')
    const floor = this.#floor
    if (floor !== undefined) {
      const above = kind === 'free' ? u64(key, 0) - u64(floor, 0) : key.compare(floor)
      if (above < 0 || (above === 0 && !this.#floorMayMatch)) this.#damaged(page, 'order of keys')
    }
    this.#floor = isLeaf ? key : Buffer.from(key)
    this.#floorMayMatch = !isLeaf
  }

  #leafNode(page: number, bytes: Buffer, node: number, dataAt: number, kind: TreeKind, named: Tree[]): void {
    const dataBytes = bytes.readUInt32LE(node)
    const flags = bytes.readUInt16LE(node + 4)
    if (flags === BIG_DATA) {
      if (dataAt + 24 > this.#pageBytes) this.#damaged(page, 'data size')
      if (u64(bytes, dataAt + 8) > this.#transactionId) this.#damaged(page, 'transaction id')
      this.#overflow(u64(bytes, dataAt), dataBytes)
      return
    }
    if (dataAt + dataBytes > this.#pageBytes) this.#damaged(page, 'data size')
    if (flags === SUB_TREE && kind === 'main' && dataBytes === TREE_BYTES) named.push(readTree(bytes, dataAt))
    else if (flags !== 0) this.#damaged(page, 'kind of node')
    // A free-list entry is a list of page numbers behind its length.
    else if (kind === 'free' && (dataBytes < 8 || u64(bytes, dataAt) * 8 + 8 > dataBytes)) {
      this.#damaged(page, 'free list')
    }
  }

  #overflow(page: number, dataBytes: number): void {
    const header = Buffer.alloc(PAGE_HEADER_BYTES)
    const pages = Math.floor((PAGE_HEADER_BYTES - 1 + dataBytes) / this.#pageBytes) + 1
    this.#claim(page, pages)
    if (!this.#read(header, page * this.#pageBytes)) this.#damaged(page, 'beyond the end of the file')
    if (u64(header, 0) !== page || (header.readUInt16LE(18) & PAGE_KINDS) !== OVERFLOW) {
      this.#damaged(page, 'kind of page')
    }
    if (u64(header, 8) > this.#transactionId) this.#damaged(page, 'transaction id')
    if (header.readUInt32LE(20) < pages) this.#damaged(page, 'number of overflow pages')
  }

  /** Each page belongs to one place: a second visit is a loop or a cross link. */
  #claim(page: number, pages: number): void {
    if (page < 2 || (page + pages) * this.#pageBytes > this.#fileBytes) {
      this.#damaged(page, 'beyond the end of the file')
    }
    for (let p = page; p < page + pages; p++) {
      if (this.#seen[p] !== 0) this.#damaged(p, 'reached twice')
      this.#seen[p] = 1
    }
  }

  #load(page: number, level: number): Buffer {
    let bytes = this.#levels[level]
    if (bytes === undefined) {
      bytes = Buffer.alloc(this.#pageBytes)
      this.#levels[level] = bytes
    }
    if (!this.#read(bytes, page * this.#pageBytes)) this.#damaged(page, 'beyond the end of the file')
    if (u64(bytes, 0) !== page) this.#damaged(page, 'page number')
    // LMDB takes a page of a later transaction for one of its own in memory.
    if (u64(bytes, 8) > this.#transactionId) this.#damaged(page, 'transaction id')
    return bytes
  }

  #read(into: Buffer, position: number): boolean {
    return readSync(this.#fd, into, 0, into.length, position) === into.length
  }

  #damaged(page: number, reason: string): never {
    throw new MillraceError('CORRUPT_STORE', { path: this.#path, page, reason })
  }
}

function readTree(bytes: Buffer, at: number): Tree {
  return { depth: bytes.readUInt16LE(at + 6), entries: u64(bytes, at + 32), root: u64(bytes, at + 40) }
}

/** A 64-bit number; all ones, LMDB's "no page", is NO_PAGE. Damage may give any number, so it is not required to be safe. */
function u64(bytes: Buffer, at: number): number {
  const low = bytes.readUInt32LE(at)
  const high = bytes.readUInt32LE(at + 4)
  return low === 0xffffffff && high === 0xffffffff ? NO_PAGE : high * 0x1_0000_0000 + low
}
