/**
 * Messages for the tests of the rings: each carries its running number and words that repeat it in other forms, spread over
 * all of the entry, so that an entry of two messages, or of one half-written, is told from a whole one.
 */

const MIX = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f] as const

const word = (sequence: number, index: number): number =>
  (Math.imul(sequence ^ index, MIX[index & 3] as number) + index) | 0

/** Fills `entryWords` words with message `sequence`. */
export function putMessage(words: Int32Array, at: number, entryWords: number, sequence: number): void {
  words[at] = sequence
  for (let index = 1; index < entryWords; index++) words[at + index] = word(sequence, index)
}

/** True when all words belong to message `sequence`. */
export function isMessage(words: Int32Array, at: number, entryWords: number, sequence: number): boolean {
  if (words[at] !== (sequence | 0)) return false
  for (let index = 1; index < entryWords; index++) if (words[at + index] !== word(sequence, index)) return false
  return true
}

/** The words of an entry, for a report of what was found instead. */
export function dump(words: Int32Array, at: number, entryWords: number): string {
  return Array.from(words.subarray(at, at + entryWords), value => (value >>> 0).toString(16)).join(' ')
}
