/**
 * Arrays and maps in Avro binary: blocks of a count and as many items, a negative count followed by the block's bytes, and
 * 0 at the end. The bytes were checked before (client/avro-check.ts), so counts are trusted here.
 */
import avsc from 'avsc'
import { readText } from './short-text.ts'
import { type Read, type Tap, tapType } from './tap.ts'

export function readArray(tap: Tap, item: Read): unknown[] {
  const items: unknown[] = []
  for (let count = readCount(tap); count > 0; count = readCount(tap)) {
    for (let i = 0; i < count; i++) items.push(item(tap))
  }
  return items
}

export function readMap(tap: Tap, value: Read): Record<string, unknown> {
  const map: Record<string, unknown> = {}
  for (let count = readCount(tap); count > 0; count = readCount(tap)) {
    for (let i = 0; i < count; i++) {
      const key = readText(tap)
      if (key === '__proto__') defineKey(map, key, value(tap))
      else map[key] = value(tap)
    }
  }
  return map
}

/** avsc's map, but for a key that would set the prototype of the object in its place. */
export class ExactMap extends avsc.types.MapType {
  _read(tap: Tap): Record<string, unknown> {
    const values = tapType(this.valuesType as avsc.Type)
    return readMap(tap, from => values._read(from))
  }
}

function defineKey(map: object, key: string, value: unknown): void {
  Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true })
}

function readCount(tap: Tap): number {
  const count = tap.readLong()
  if (count >= 0) return count
  tap.skipLong()
  return -count
}
