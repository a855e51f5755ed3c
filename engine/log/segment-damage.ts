/**
 * Damage at rest in a segment that is being read: which stretches cannot be read, and which offsets lay in them. Pure functions over
 * bytes. Readers ask only when something is wrong, because the answer costs a walk over the segment with its checksums.
 *
 * A batch counts as damaged when it is not sound by itself, or when its offset, which no checksum covers, does not continue
 * the batch before although nothing is missing there.
 */
import { baseOffsetOf, batchBytes, checkBatch, lastOffsetOf } from '../format/record-batch.ts'
import { type Region, readI64Rough } from '../format/region.ts'
import { findSoundBatch, isTrueGap } from './recovery-salvage.ts'

/** Bytes `[position, endPosition)` cannot be read; offsets `[offset, nextOffset)` are lost with them. */
export interface Damage {
  readonly position: number
  readonly endPosition: number
  readonly offset: number
  readonly nextOffset: number
  readonly reason: string
}

/**
 * The damaged stretches of a segment, in order.
 * @param region its bytes from the start, as far as they are published
 * @param endOffset offset at which the log goes on behind it
 */
export function findDamages(region: Region, baseOffset: number, endOffset: number): Damage[] {
  const damages: Damage[] = []
  const end = region.length
  let offset = baseOffset
  for (let position = 0; position < end; ) {
    const reason = faultAt(region, position, offset, baseOffset, endOffset)
    if (reason === undefined) {
      offset = lastOffsetOf(region.view, position) + 1
      position += batchBytes(region.view, position)
      continue
    }
    const bounds = { minOffset: offset, maxOffset: endOffset, baseOffset, knownEnd: endOffset, gapless: false }
    const next = findSoundBatch(region, position, end, bounds)
    const endPosition = next === -1 ? end : next
    const nextOffset = next === -1 ? endOffset : baseOffsetOf(region.view, next)
    damages.push({ position, endPosition, offset, nextOffset, reason })
    position = endPosition
    offset = nextOffset
  }
  return damages
}

function faultAt(
  region: Region,
  at: number,
  offset: number,
  baseOffset: number,
  endOffset: number,
): string | undefined {
  const fault = checkBatch(region, at, region.length)
  if (fault !== undefined) return fault
  const first = readI64Rough(region.view, at)
  if (first === offset) return undefined
  if (first < offset) return 'order'
  return isTrueGap(region, at, region.length, baseOffset, endOffset) ? undefined : 'gap'
}

/** Position of the first batch whose last offset is at or behind `offset`, walked around the damage; the end when none is. */
export function positionAround(region: Region, damages: readonly Damage[], offset: number): number {
  let next = 0
  let position = 0
  while (position < region.length) {
    const damage = damages[next]
    if (damage?.position === position) {
      position = damage.endPosition
      next += 1
      continue
    }
    if (lastOffsetOf(region.view, position) >= offset) break
    position += batchBytes(region.view, position)
  }
  return position
}
