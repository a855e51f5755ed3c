/**
 * What the leader-epoch checkpoint should say, from what it says and what the log shows. Pure. The log is right: an epoch begins at
 * the first batch that has it. The file adds what the log cannot show: where an epoch began whose first records retention
 * deleted, and an epoch that has no record yet. Entries above the end of the log are of records that are gone. In a compacted log
 * the first records of any epoch may be gone, so there the file is believed as long as nothing contradicts it.
 */
import type { EpochEntry } from '../format/leader-epoch-checkpoint.ts'

/** What one segment shows. Of a segment that was read only at its edges the first and the last epoch are known. */
export type SegmentEpochs =
  | { readonly kind: 'walked'; readonly epochs: readonly EpochEntry[] }
  | {
      readonly kind: 'edges'
      readonly baseOffset: number
      readonly nextOffset: number
      readonly firstEpoch: number
      readonly lastEpoch: number
    }

/**
 * @param file entries of the checkpoint, `undefined` when it is missing or damaged
 * @param segments in order, as the log shows them
 * @param firstOffset base offset of the first segment
 * @param compacted records may be missing anywhere
 * @returns `undefined` when the file is needed for a segment that was not walked, and contradicts it
 */
export function reconcileEpochs(
  file: readonly EpochEntry[] | undefined,
  segments: readonly SegmentEpochs[],
  firstOffset: number,
  logEndOffset: number,
  compacted = false,
): EpochEntry[] | undefined {
  if (compacted && file !== undefined && segments.every(segment => agrees(file, segment))) {
    return file.filter(({ startOffset }) => startOffset <= logEndOffset)
  }
  const entries: EpochEntry[] = []
  const add = (entry: EpochEntry): void => {
    if (entry.epoch > (entries.at(-1)?.epoch ?? -1)) entries.push(entry)
  }
  for (const segment of segments) {
    if (segment.kind === 'walked') segment.epochs.forEach(add)
    else {
      const { baseOffset, nextOffset, firstEpoch, lastEpoch } = segment
      if (file === undefined) return undefined
      if (epochAt(file, baseOffset) !== firstEpoch || epochAt(file, nextOffset - 1) !== lastEpoch) return undefined
      if (firstEpoch >= 0) add({ epoch: firstEpoch, startOffset: baseOffset })
      for (const entry of file) if (entry.startOffset > baseOffset && entry.startOffset < nextOffset) add(entry)
    }
  }
  const known = file ?? []
  const lastEpoch = entries.at(-1)?.epoch ?? -1
  const unused = known.filter(({ epoch, startOffset }) => startOffset === logEndOffset && epoch > lastEpoch)
  return [...withEarlierStarts(known, entries, firstOffset), ...unused]
}

/** Whether a compacted segment may be what is left under these epochs, the first batches of which may be gone. */
function agrees(file: readonly EpochEntry[], segment: SegmentEpochs): boolean {
  if (segment.kind === 'walked') return segment.epochs.every(shown => epochAt(file, shown.startOffset) === shown.epoch)
  const { baseOffset, nextOffset, firstEpoch, lastEpoch } = segment
  const isKnown = firstEpoch < 0 || file.some(({ epoch }) => epoch === firstEpoch)
  return isKnown && epochAt(file, baseOffset) <= firstEpoch && epochAt(file, nextOffset - 1) === lastEpoch
}

/** Epochs that began below the first offset that is left, as the file has them, in front of those that the log shows. */
function withEarlierStarts(file: readonly EpochEntry[], shown: EpochEntry[], firstOffset: number): EpochEntry[] {
  const earlier = file.filter(({ startOffset }) => startOffset < firstOffset)
  const first = shown[0]
  if (first === undefined) return earlier
  const before = earlier.filter(({ epoch }) => epoch < first.epoch)
  const same = earlier.find(({ epoch }) => epoch === first.epoch)
  return [...before, same !== undefined && first.startOffset === firstOffset ? same : first, ...shown.slice(1)]
}

/** The epoch in force at an offset, -1 when none is. */
function epochAt(entries: readonly EpochEntry[], offset: number): number {
  return entries.findLast(({ startOffset }) => startOffset <= offset)?.epoch ?? -1
}
