/**
 * Which offset is the latest of each key: a hash table of a set size with the keys themselves in it, so that two keys are never
 * taken for one. Used by one compaction at a time. Open addressing, 16 bytes an entry:
 *
 *     offset, a double │ hash, 32 bits │ 1 + position of the key in the key bytes, 32 bits; 0 for a free entry
 *
 * Keys lie one behind the other, each after its length; that memory costs nothing before it is used. The table grows with the keys,
 * because one that is larger than it needs to be is slow: every look is a miss of the caches.
 */
const ENTRY_BYTES = 16
const HASH = 2
const KEY = 3
const LENGTH_BYTES = 4
const SLOTS_MIN = 1_024
/** Share of the entries that may be taken. */
const LOAD_MAX = 0.75

export class KeyMap {
  #offsets: Float64Array
  #words: Int32Array
  #mask: number
  readonly #slotsMax: number
  readonly #keys: Uint8Array
  readonly #keyView: DataView
  #entries = 0
  #keyBytes = 0
  /** Another one each time, so that nobody can choose keys that meet. */
  readonly #seed: number

  /**
   * @param maxBytes of all of it: half for the keys, half for the table and the one that it grows out of
   */
  constructor(maxBytes: number, seed: number) {
    let slotsMax = SLOTS_MIN
    while (slotsMax * 2 * ENTRY_BYTES * 1.5 <= maxBytes / 2) slotsMax *= 2
    this.#slotsMax = slotsMax
    const table = new ArrayBuffer(SLOTS_MIN * ENTRY_BYTES)
    this.#offsets = new Float64Array(table)
    this.#words = new Int32Array(table)
    this.#mask = SLOTS_MIN - 1
    const keys = new ArrayBuffer(Math.floor(maxBytes / 2))
    this.#keys = new Uint8Array(keys)
    this.#keyView = new DataView(keys)
    this.#seed = seed
  }

  get size(): number {
    return this.#entries
  }

  /** Notes that the key in `[at, at + length)` has `offset`. False when it is new and there is no room. */
  put(view: DataView, at: number, length: number, offset: number): boolean {
    const hash = hashOf(view, at, length, this.#seed)
    let slot = this.#find(hash, view, at, length)
    if (this.#words[slot * 4 + KEY] === 0) {
      if (!this.#hasRoom(length)) return false
      slot = this.#find(hash, view, at, length) // it may have grown
      this.#words[slot * 4 + HASH] = hash
      this.#words[slot * 4 + KEY] = this.#keyBytes + 1
      this.#keyView.setInt32(this.#keyBytes, length, true)
      copy(view, at, length, this.#keys, this.#keyBytes + LENGTH_BYTES)
      this.#keyBytes += LENGTH_BYTES + length
      this.#entries += 1
    }
    this.#offsets[slot * 2] = offset
    return true
  }

  #hasRoom(length: number): boolean {
    if (this.#keyBytes + LENGTH_BYTES + length > this.#keys.length) return false
    if (this.#entries < LOAD_MAX * (this.#mask + 1)) return true
    if (this.#mask + 1 === this.#slotsMax) return false
    this.#grow()
    return true
  }

  #grow(): void {
    const oldWords = this.#words
    const oldOffsets = this.#offsets
    const slots = (this.#mask + 1) * 2
    const table = new ArrayBuffer(slots * ENTRY_BYTES)
    const words = new Int32Array(table)
    const offsets = new Float64Array(table)
    for (let from = 0; from < slots / 2; from++) {
      if (oldWords[from * 4 + KEY] === 0) continue
      const hash = oldWords[from * 4 + HASH] as number
      let slot = hash & (slots - 1)
      while (words[slot * 4 + KEY] !== 0) slot = (slot + 1) & (slots - 1)
      offsets[slot * 2] = oldOffsets[from * 2] as number
      words[slot * 4 + HASH] = hash
      words[slot * 4 + KEY] = oldWords[from * 4 + KEY] as number
    }
    this.#words = words
    this.#offsets = offsets
    this.#mask = slots - 1
  }

  /** The latest offset of a key, -1 when it was not noted. */
  get(view: DataView, at: number, length: number): number {
    const slot = this.#find(hashOf(view, at, length, this.#seed), view, at, length)
    return this.#words[slot * 4 + KEY] === 0 ? -1 : (this.#offsets[slot * 2] as number)
  }

  /** The slot of a key, or the free one where it belongs; a quarter of them is always free. */
  #find(hash: number, view: DataView, at: number, length: number): number {
    const words = this.#words
    const mask = this.#mask
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const key = words[slot * 4 + KEY] as number
      if (key === 0 || (words[slot * 4 + HASH] === hash && this.#isKey(key - 1, view, at, length))) return slot
    }
  }

  #isKey(position: number, view: DataView, at: number, length: number): boolean {
    const keys = this.#keyView
    if (keys.getInt32(position, true) !== length) return false
    const from = position + LENGTH_BYTES
    let i = 0
    for (; i + 4 <= length; i += 4) if (keys.getInt32(from + i, true) !== view.getInt32(at + i, true)) return false
    for (; i < length; i++) if (keys.getUint8(from + i) !== view.getUint8(at + i)) return false
    return true
  }
}

/** Four bytes at a time, multiplied and rotated, and mixed at the end. */
function hashOf(view: DataView, at: number, length: number, seed: number): number {
  let hash = seed ^ length
  let i = 0
  for (; i + 4 <= length; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(at + i, true), 0x9e37_79b1)
    hash = (hash << 15) | (hash >>> 17)
  }
  let rest = 0
  for (; i < length; i++) rest = (rest << 8) | view.getUint8(at + i)
  hash = Math.imul(hash ^ rest, 0x85eb_ca77)
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d)
  return hash ^ (hash >>> 15)
}

function copy(view: DataView, at: number, length: number, to: Uint8Array, toAt: number): void {
  if (length > 64) {
    to.set(new Uint8Array(view.buffer, view.byteOffset + at, length), toAt)
    return
  }
  for (let i = 0; i < length; i++) to[toAt + i] = view.getUint8(at + i)
}
