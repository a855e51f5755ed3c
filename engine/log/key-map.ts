/**
 * Which offset is the latest of each key: a hash table of a set size with the keys themselves in it, so that two keys are never
 * taken for one. Used by one compaction at a time. Open addressing; a slot is 8 bytes and leads to an entry:
 *
 *     slot    hash, 32 bits │ place of the entry, in units of 8 bytes; 0 for a free slot
 *     entry   latest offset, a double │ length of the key, 32 bits │ the key │ up to the next unit
 *
 * Every look at a key misses the caches twice, at its slot and at its entry, and most of the time goes there. So keys are
 * looked up in groups: the hashes first, then all slots, then all entries, in loops whose turns do not wait for each other.
 * Entries lie one behind the other in memory that costs nothing before it is used; the slots grow with the keys.
 */
import { GROUP_RECORDS, type RecordGroup } from '../format/record-group.ts'

const SLOT_BYTES = 8
const UNIT_BYTES = 8
const SLOTS_MIN = 1_024
/** Share of the slots that may be taken. */
const LOAD_MAX = 0.75
const LENGTH_AT = 8
const KEY_AT = 12
/** Copied byte by byte: to make two views takes longer. */
const SHORT_KEY_BYTES = 64
/** Longer keys than this share of the memory are not noted: a few would fill it. */
const KEY_SHARE = 4

export class KeyMap {
  #slots = new Int32Array(SLOTS_MIN * 2)
  #mask = SLOTS_MIN - 1
  readonly #slotsMax: number
  readonly #offsets: Float64Array
  readonly #view: DataView
  readonly #units: number
  readonly #keyBytesMax: number
  #usedUnits = 1
  #size = 0
  /** Another one each time, so that nobody can choose keys that meet. */
  readonly #seed: number
  // Of the keys of the group in hand.
  readonly #hashes = new Int32Array(GROUP_RECORDS)
  readonly #places = new Int32Array(GROUP_RECORDS)

  /**
   * @param maxBytes of all of it: half for the entries, half for the slots and those that they grow out of
   */
  constructor(maxBytes: number, seed: number) {
    let slotsMax = SLOTS_MIN
    while (slotsMax * 2 * SLOT_BYTES * 1.5 <= maxBytes / 2) slotsMax *= 2
    this.#slotsMax = slotsMax
    this.#units = Math.floor(maxBytes / 2 / UNIT_BYTES)
    const entries = new ArrayBuffer(this.#units * UNIT_BYTES)
    this.#offsets = new Float64Array(entries)
    this.#view = new DataView(entries)
    this.#keyBytesMax = maxBytes / KEY_SHARE
    this.#seed = seed
  }

  get size(): number {
    return this.#size
  }

  /**
   * Notes the offset of each key of the group; null and overlong keys are passed over.
   * @param view of the memory that the positions are in
   * @returns false when there is no room for a new one; all others are noted then as well
   */
  putAll(view: DataView, group: RecordGroup): boolean {
    const { count, keyAt, keyBytes, offsets } = group
    const places = this.#candidates(view, group)
    const latest = this.#offsets
    let fits = true
    for (let i = 0; i < count; i++) {
      const place = places[i] as number
      if (place !== 0 && this.#isKey(place, view, keyAt[i] as number, keyBytes[i] as number)) {
        latest[place] = offsets[i] as number
      } else if (!this.#put(i, view, group)) fits = false
    }
    return fits
  }

  /** Writes the latest offset of each key of the group into `latest`; -1 for one that was not noted, or null. */
  getAll(view: DataView, group: RecordGroup, latest: Float64Array): void {
    const { count, keyAt, keyBytes } = group
    const places = this.#candidates(view, group)
    const offsets = this.#offsets
    for (let i = 0; i < count; i++) {
      const at = keyAt[i] as number
      const length = keyBytes[i] as number
      let place = places[i] as number
      if (place === 0 || !this.#isKey(place, view, at, length)) {
        place = length < 0 ? 0 : this.#find(this.#hashes[i] as number, view, at, length)
      }
      latest[i] = place === 0 ? -1 : (offsets[place] as number)
    }
  }

  /** Hashes the keys and looks where each belongs: the place of what has the same hash there, or 0, which says nothing. */
  #candidates(view: DataView, { count, keyAt, keyBytes }: RecordGroup): Int32Array {
    const hashes = this.#hashes
    const places = this.#places
    const slots = this.#slots
    const mask = this.#mask
    for (let i = 0; i < count; i++) hashes[i] = hashOf(view, keyAt[i] as number, keyBytes[i] as number, this.#seed)
    // Without a branch: one that is guessed wrong would end what the processor does ahead.
    for (let i = 0; i < count; i++) {
      const hash = hashes[i] as number
      const slot = (hash & mask) * 2
      const isSame = slots[slot] === hash ? -1 : 0
      places[i] = (slots[slot + 1] as number) & isSame
    }
    return places
  }

  /** Notes one key. False when it is new and there is no room. */
  #put(i: number, view: DataView, group: RecordGroup): boolean {
    const length = group.keyBytes[i] as number
    if (length < 0 || length > this.#keyBytesMax) return true
    const at = group.keyAt[i] as number
    const hash = this.#hashes[i] as number
    let place = this.#find(hash, view, at, length)
    if (place === 0) {
      if (!this.#hasRoom(length)) return false
      place = this.#add(hash, view, at, length)
    }
    this.#offsets[place] = group.offsets[i] as number
    return true
  }

  /** The place of a key's entry, 0 when it is not there; a quarter of the slots is always free. */
  #find(hash: number, view: DataView, at: number, length: number): number {
    const slots = this.#slots
    const mask = this.#mask
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const place = slots[slot * 2 + 1] as number
      if (place === 0 || (slots[slot * 2] === hash && this.#isKey(place, view, at, length))) return place
    }
  }

  #isKey(place: number, view: DataView, at: number, length: number): boolean {
    const entries = this.#view
    const entryAt = place * UNIT_BYTES
    if (entries.getInt32(entryAt + LENGTH_AT, true) !== length) return false
    const from = entryAt + KEY_AT
    let different = 0
    let i = 0
    for (; i + 4 <= length; i += 4) different |= entries.getInt32(from + i, true) ^ view.getInt32(at + i, true)
    for (; i < length; i++) different |= entries.getUint8(from + i) ^ view.getUint8(at + i)
    return different === 0
  }

  #hasRoom(length: number): boolean {
    if (this.#usedUnits + unitsOf(length) > this.#units) return false
    if (this.#size < LOAD_MAX * (this.#mask + 1)) return true
    if (this.#mask + 1 === this.#slotsMax) return false
    this.#grow()
    return true
  }

  /** Makes an entry for a key that has none. */
  #add(hash: number, view: DataView, at: number, length: number): number {
    const place = this.#usedUnits
    setSlot(this.#slots, this.#mask, hash, place)
    this.#view.setInt32(place * UNIT_BYTES + LENGTH_AT, length, true)
    copy(view, at, length, this.#view, place * UNIT_BYTES + KEY_AT)
    this.#usedUnits += unitsOf(length)
    this.#size += 1
    return place
  }

  #grow(): void {
    const old = this.#slots
    const slots = new Int32Array(old.length * 2)
    const mask = slots.length / 2 - 1
    for (let from = 0; from < old.length; from += 2) {
      if (old[from + 1] !== 0) setSlot(slots, mask, old[from] as number, old[from + 1] as number)
    }
    this.#slots = slots
    this.#mask = mask
  }
}

const unitsOf = (length: number): number => Math.ceil((KEY_AT + length) / UNIT_BYTES)

/** Takes the next free slot behind where the hash belongs. */
function setSlot(slots: Int32Array, mask: number, hash: number, place: number): void {
  let slot = hash & mask
  while (slots[slot * 2 + 1] !== 0) slot = (slot + 1) & mask
  slots[slot * 2] = hash
  slots[slot * 2 + 1] = place
}

/** Four bytes at a time, multiplied and rotated, and mixed at the end; 0 for a null key. */
function hashOf(view: DataView, at: number, length: number, seed: number): number {
  if (length < 0) return 0
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

function copy(view: DataView, at: number, length: number, to: DataView, toAt: number): void {
  if (length <= SHORT_KEY_BYTES) {
    for (let i = 0; i < length; i++) to.setUint8(toAt + i, view.getUint8(at + i))
    return
  }
  new Uint8Array(to.buffer, toAt, length).set(new Uint8Array(view.buffer, view.byteOffset + at, length))
}
