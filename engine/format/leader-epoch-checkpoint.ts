/**
 * Kafka's `leader-epoch-checkpoint` file: text of a version line, a count line, and one line `<epoch> <start offset>` for
 * each leader epoch that has records. Epochs and start offsets both increase strictly. Pure functions; any thread.
 *
 *     0
 *     2
 *     0 0
 *     3 1200
 */
import { SAFE_MAX } from '../base/limits.ts'

export interface EpochEntry {
  readonly epoch: number
  /** Offset of the first record that was appended under this epoch. */
  readonly startOffset: number
}

const VERSION = '0'
const COUNT = /^(0|[1-9]\d{0,9})$/
const ENTRY = /^(0|[1-9]\d{0,9}) (0|[1-9]\d{0,15})$/
const EPOCH_MAX = 0x7fff_ffff

export function formatEpochCheckpoint(entries: readonly EpochEntry[]): string {
  const lines = entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}\n`)
  return `${VERSION}\n${entries.length}\n${lines.join('')}`
}

/** The entries, or `undefined` when the text is damaged in any way: cut short, reordered, of another version. */
export function parseEpochCheckpoint(text: string): EpochEntry[] | undefined {
  const lines = text.split('\n')
  // The last line ends with a line feed too, so a cut in the middle of a number is seen.
  if (lines.length < 3 || lines.pop() !== '' || lines[0] !== VERSION) return undefined
  if (!COUNT.test(lines[1] as string) || Number(lines[1]) !== lines.length - 2) return undefined
  const entries: EpochEntry[] = []
  let last: EpochEntry = { epoch: -1, startOffset: -1 }
  for (let i = 2; i < lines.length; i++) {
    const match = ENTRY.exec(lines[i] as string)
    if (match === null) return undefined
    const entry = { epoch: Number(match[1]), startOffset: Number(match[2]) }
    if (entry.epoch <= last.epoch || entry.startOffset <= last.startOffset) return undefined
    if (entry.epoch > EPOCH_MAX || entry.startOffset > SAFE_MAX) return undefined
    entries.push(entry)
    last = entry
  }
  return entries
}
