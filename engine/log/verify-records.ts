/**
 * Whether the records of an uncompressed batch are sound, for records as nearly all are: short varints, no headers. It says so or
 * leaves the answer to `RecordCursor`, which takes half as long again because it says where everything is. Pure; any thread.
 */

/** What is read of a record before it is compared: length 2, attributes, timestamp 4, offset 3, key length 2, and without a key value length 2. */
const SHORT_FIELDS_BYTES = 14

/**
 * Walks `count` records that fill `[from, end)`.
 * @param offsetDeltaMax largest offset delta that a record may have
 * @returns the largest timestamp delta; undefined when a record is not of the usual kind, or not sound
 */
export function usualRecords(
  bytes: Uint8Array,
  from: number,
  end: number,
  count: number,
  offsetDeltaMax: number,
): number | undefined {
  let at = from
  let lastOffsetDelta = -2 // twice, as deltas are in zigzag varints
  let largest = 0
  for (let record = 0; record < count; record++) {
    if (at + SHORT_FIELDS_BYTES > end) return undefined
    let length = bytes[at++] as number
    if (length >= 0x80) {
      const byte = bytes[at++] as number
      if (byte >= 0x80) return undefined
      length = (length & 0x7f) | (byte << 7)
    }
    const recordEnd = at + (length >>> 1)
    at++ // attributes, which records do not use
    let timestampDelta = bytes[at++] as number
    if (timestampDelta >= 0x80) {
      let byte = bytes[at++] as number
      timestampDelta = (timestampDelta & 0x7f) | ((byte & 0x7f) << 7)
      if (byte >= 0x80) {
        byte = bytes[at++] as number
        timestampDelta |= (byte & 0x7f) << 14
        if (byte >= 0x80) {
          byte = bytes[at++] as number
          timestampDelta |= byte << 21
          if (byte >= 0x80) return undefined
        }
      }
    }
    let offsetDelta = bytes[at++] as number
    if (offsetDelta >= 0x80) {
      let byte = bytes[at++] as number
      offsetDelta = (offsetDelta & 0x7f) | ((byte & 0x7f) << 7)
      if (byte >= 0x80) {
        byte = bytes[at++] as number
        offsetDelta |= byte << 14
        if (byte >= 0x80) return undefined
      }
    }
    let keyBytes = bytes[at++] as number
    if (keyBytes >= 0x80) {
      const byte = bytes[at++] as number
      keyBytes = (keyBytes & 0x7f) | (byte << 7)
      if (byte >= 0x80) return undefined
    }
    if (keyBytes !== 1) at += keyBytes >>> 1 // 1 is null
    if (at + 3 > end) return undefined
    let valueBytes = bytes[at++] as number
    if (valueBytes >= 0x80) {
      const byte = bytes[at++] as number
      valueBytes = (valueBytes & 0x7f) | (byte << 7)
      if (byte >= 0x80) return undefined
    }
    if (valueBytes !== 1) at += valueBytes >>> 1
    // The header count is the last byte of the record, and 0. Odd numbers are negative ones.
    if (at + 1 !== recordEnd || recordEnd > end || bytes[at] !== 0) return undefined
    const odd =
      length | timestampDelta | offsetDelta | (keyBytes === 1 ? 0 : keyBytes) | (valueBytes === 1 ? 0 : valueBytes)
    if ((odd & 1) !== 0 || offsetDelta <= lastOffsetDelta) return undefined
    lastOffsetDelta = offsetDelta
    if (timestampDelta > largest) largest = timestampDelta
    at = recordEnd
  }
  return at === end && lastOffsetDelta >>> 1 <= offsetDeltaMax ? largest >>> 1 : undefined
}
