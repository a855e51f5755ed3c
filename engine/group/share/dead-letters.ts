/**
 * Brings dead letters to their topic, in the order in which they come, a few records at a time. A letter leaves the
 * share partition only when it was appended, so it is tried until it is, with pauses that grow; meanwhile it counts as
 * a lock. Whoever dies between the append and the answer appends once more: at least once, never none. Owned by the
 * broker's thread; what appends is handed in, because this layer has no producer.
 */
import { failpoint } from '../../base/failpoints.ts'
import type { PartitionLocation } from '../../log/partition-reader.ts'
import type { DeadLetter } from './share-types.ts'

/** A dead letter and where it is from. */
export interface AddressedLetter extends DeadLetter {
  readonly group: string
  readonly deadLetterTopic: string
  readonly location: PartitionLocation
}

/** Appends the records of letters to their dead-letter topic, and resolves when they are acknowledged. */
export type AppendDeadLetters = (letters: readonly AddressedLetter[]) => Promise<void>

interface Waiting {
  readonly letter: AddressedLetter
  readonly appended: () => void
}

/** Letters of one append; each may be a range of up to a block of records. */
const LETTERS_MAX = 64
const PAUSE_MIN_MS = 100
const PAUSE_MAX_MS = 10_000

export class DeadLetters {
  readonly #append: AppendDeadLetters
  readonly #failed: (error: unknown) => void
  /** By dead-letter topic: one that takes no records does not keep the others waiting. */
  readonly #lanes = new Map<string, Lane>()
  #isClosed = false

  constructor(append: AppendDeadLetters, failed: (error: unknown) => void) {
    this.#append = append
    this.#failed = failed
  }

  /** @param appended called once it is in its topic, unless this is closed before */
  add(letter: AddressedLetter, appended: () => void): void {
    if (this.#isClosed) return
    let lane = this.#lanes.get(letter.deadLetterTopic)
    if (lane === undefined) {
      lane = new Lane(this.#append, this.#failed)
      this.#lanes.set(letter.deadLetterTopic, lane)
    }
    lane.add(letter, appended)
  }

  /** Ends the waits; what is under way is waited for, what is left comes again with the next start. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#lanes.values()].map(lane => lane.close()))
  }
}

/** The letters to one topic. */
class Lane {
  readonly #append: AppendDeadLetters
  readonly #failed: (error: unknown) => void
  #waiting: Waiting[] = []
  #running: Promise<void> | undefined
  #wake: (() => void) | undefined
  #isClosed = false

  constructor(append: AppendDeadLetters, failed: (error: unknown) => void) {
    this.#append = append
    this.#failed = failed
  }

  add(letter: AddressedLetter, appended: () => void): void {
    this.#waiting.push({ letter, appended })
    this.#running ??= this.#run()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake?.()
    await this.#running
  }

  async #run(): Promise<void> {
    let pauseMs = PAUSE_MIN_MS
    await undefined // letters that a start finds are there before what appends them is
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const taken = this.#waiting.slice(0, LETTERS_MAX)
      try {
        await this.#append(taken.map(({ letter }) => letter))
        failpoint('dead-letter-after-append')
        this.#waiting = this.#waiting.slice(taken.length)
        for (const { appended } of taken) appended()
        pauseMs = PAUSE_MIN_MS
      } catch (error) {
        if (!this.#isClosed) this.#failed(error)
        await this.#pause(pauseMs)
        pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)
      }
    }
    this.#running = undefined
  }

  async #pause(pauseMs: number): Promise<void> {
    if (this.#isClosed) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, pauseMs).unref()
    this.#wake = resolve
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }
}
