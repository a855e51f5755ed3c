/**
 * The live records of a share partition: those that are neither acknowledged nor archived, as runs of neighbours in the
 * same state. What lies between two runs is finished and costs nothing, so one delayed record with millions of finished
 * ones behind it is one run.
 *
 * Runs lie in blocks of 1,024 offsets, which are also the unit of storage: a change rewrites the runs of the blocks that
 * it touches and marks those as changed. Invariants: blocks ascend by number and none is empty; runs of a block ascend,
 * do not overlap, do not leave the block, and neighbours that could be one are one.
 */
import { invariant } from '../../base/invariant.ts'
import { SHARE_BLOCK_OFFSETS as BLOCK_OFFSETS, STORED_RECORD_STATE } from '../../store/share-states.ts'

export { BLOCK_OFFSETS }

/** Kafka's numbers of its record states. Acknowledged and archived have no run. */
export const RECORD_STATE = { ...STORED_RECORD_STATE, acquired: 1 } as const
export type RecordState = (typeof RECORD_STATE)[keyof typeof RECORD_STATE]

export interface Run {
  readonly first: number
  /** Exclusive. */
  readonly end: number
  readonly state: RecordState
  readonly deliveryCount: number
  /** Who holds it while it is acquired, else ''. */
  readonly memberId: string
  /** While it is acquired the end of its lock, in monotonic time; while it is delayed when it is due, in wall time; else 0. */
  readonly atMs: number
}

export interface Block {
  readonly number: number
  runs: Run[]
}

/** What becomes of the part `[first, end)` of a run: another run of the same offsets, or undefined when it is finished. */
export type Change = (run: Run, first: number, end: number) => Run | undefined

export class LiveRuns {
  readonly #blocks: Block[] = []
  readonly #changed = new Set<number>()

  get blocks(): readonly Block[] {
    return this.#blocks
  }

  /** First offset of the first run, undefined when there is none. */
  get firstOffset(): number | undefined {
    return this.#blocks[0]?.runs[0]?.first
  }

  /** True when every offset of `[first, end)` lies in a run that passes `test`. Ends at the first that does not. */
  every(first: number, end: number, test: (run: Run) => boolean): boolean {
    let at = first
    for (let index = this.#indexFrom(first); index < this.#blocks.length && at < end; index++) {
      for (const run of (this.#blocks[index] as Block).runs) {
        if (run.end <= at) continue
        if (run.first > at || !test(run)) return false
        at = run.end
        if (at >= end) break
      }
    }
    return at >= end
  }

  /** Changes what is live in `[first, end)`; what is finished there stays so. */
  change(first: number, end: number, change: Change): void {
    let index = this.#indexFrom(first)
    while (index < this.#blocks.length) {
      const block = this.#blocks[index] as Block
      if (block.number * BLOCK_OFFSETS >= end) return
      if (this.#rewrite(block, first, end, change)) index += 1
      else this.#blocks.splice(index, 1)
    }
  }

  /** Changes the runs that pass `test`, wherever they are, in blocks that have any. */
  changeWhere(test: (run: Run) => boolean, change: Change): void {
    for (let index = 0; index < this.#blocks.length; ) {
      const block = this.#blocks[index] as Block
      if (!block.runs.some(test)) index += 1
      else if (
        this.#rewrite(block, block.number * BLOCK_OFFSETS, (block.number + 1) * BLOCK_OFFSETS, onlyWhere(test, change))
      )
        index += 1
      else this.#blocks.splice(index, 1)
    }
  }

  /** Adds a run behind all that there is, and behind all that there ever was. */
  append(run: Run): void {
    invariant(run.end > run.first, 'a run holds a record')
    for (let first = run.first; first < run.end; ) {
      const number = Math.floor(first / BLOCK_OFFSETS)
      const end = Math.min(run.end, (number + 1) * BLOCK_OFFSETS)
      const last = this.#blocks.at(-1)
      invariant(last === undefined || number >= last.number, 'runs are appended in the order of their offsets')
      if (last?.number === number) push(last.runs, { ...run, first, end })
      else this.#blocks.push({ number, runs: [{ ...run, first, end }] })
      this.#changed.add(number)
      first = end
    }
  }

  /** Every run from the one that holds `offset`, or the next; ends when `visit` returns false. */
  visit(offset: number, visit: (run: Run) => boolean): void {
    for (let index = this.#indexFrom(offset); index < this.#blocks.length; index++) {
      for (const run of (this.#blocks[index] as Block).runs) if (run.end > offset && !visit(run)) return
    }
  }

  /** The runs of a block, none when it is finished. */
  runsOf(number: number): readonly Run[] {
    const block = this.#blocks[this.#indexFrom(number * BLOCK_OFFSETS)]
    return block?.number === number ? block.runs : []
  }

  /** Numbers of the blocks that changed since this was called last. */
  takeChanged(): number[] {
    const changed = [...this.#changed]
    this.#changed.clear()
    return changed
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0
  }

  markChanged(numbers: Iterable<number>): void {
    for (const number of numbers) this.#changed.add(number)
  }

  /** Index of the first block that holds `offset` or lies behind it. */
  #indexFrom(offset: number): number {
    const number = Math.floor(offset / BLOCK_OFFSETS)
    let low = 0
    let high = this.#blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#blocks[middle] as Block).number < number) low = middle + 1
      else high = middle
    }
    return low
  }

  /** False when nothing of the block is live any more. */
  #rewrite(block: Block, first: number, end: number, change: Change): boolean {
    const runs: Run[] = []
    for (const run of block.runs) {
      const from = Math.max(run.first, first)
      const to = Math.min(run.end, end)
      if (from >= to) {
        push(runs, run)
        continue
      }
      const changed = change(run, from, to)
      if (changed === run) {
        push(runs, run)
        continue
      }
      if (run.first < from) push(runs, { ...run, end: from })
      if (changed !== undefined) push(runs, changed)
      if (to < run.end) push(runs, { ...run, first: to })
      this.#changed.add(block.number)
    }
    block.runs = runs
    return runs.length > 0
  }
}

const onlyWhere =
  (test: (run: Run) => boolean, change: Change): Change =>
  (run, first, end) =>
    test(run) ? change(run, first, end) : run

function push(runs: Run[], run: Run): void {
  const last = runs.at(-1)
  if (last !== undefined && last.end === run.first && isAlike(last, run))
    runs[runs.length - 1] = { ...last, end: run.end }
  else runs.push(run)
}

function isAlike(a: Run, b: Run): boolean {
  return a.state === b.state && a.deliveryCount === b.deliveryCount && a.memberId === b.memberId && a.atMs === b.atMs
}
