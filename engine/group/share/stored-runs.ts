/**
 * Runs as they are stored: rows of five numbers (offset relative to the block, records, state, delivery count, due time).
 * Who holds a record and until when is not stored, because locks end with the engine: an acquired run is stored as
 * available, with its delivery count.
 */
import type { RunRow } from '../../store/share-states.ts'
import { BLOCK_OFFSETS, RECORD_STATE, type Run } from './live-runs.ts'

export function rowOfRun(block: number, run: Run): RunRow {
  const isAcquired = run.state === RECORD_STATE.acquired
  const state = isAcquired ? RECORD_STATE.available : run.state
  const dueMs = run.state === RECORD_STATE.delayed ? run.atMs : 0
  return [run.first - block * BLOCK_OFFSETS, run.end - run.first, state, run.deliveryCount, dueMs]
}

export function runOfRow(block: number, [relative, records, state, deliveryCount, atMs]: RunRow): Run {
  const first = block * BLOCK_OFFSETS + relative
  return { first, end: first + records, state: state as Run['state'], deliveryCount, memberId: '', atMs }
}
