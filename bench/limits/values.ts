/**
 * The values that records are made of, the same for the engine and for the limits: pseudo-random bytes that no run of the
 * benchmark changes, cycled through so that they come from more than one cache line. Frozen: no engine code.
 */

/** A power of two. */
export const VALUE_COUNT = 256

/** `VALUE_COUNT` different values of `valueBytes` each, lying one behind the other in one piece of memory. */
export function makeValues(valueBytes: number): Uint8Array[] {
  const memory = new Uint8Array(valueBytes * VALUE_COUNT)
  let state = 0x9e37_79b9
  for (let i = 0; i < memory.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    memory[i] = state >>> 24
  }
  return Array.from({ length: VALUE_COUNT }, (_, i) => memory.subarray(i * valueBytes, (i + 1) * valueBytes))
}

/** 2001-01-01T00:00:00Z. */
export const FIRST_TIMESTAMP = 978_307_200_000

/** The timestamp of the n-th record: a thousand records a millisecond, so that most deltas in a batch are 0 or 1. */
export const timestampOf = (record: number): number => FIRST_TIMESTAMP + Math.floor(record / 1024)
