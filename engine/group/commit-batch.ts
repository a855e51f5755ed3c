/**
 * Commits on their way to the disk, for all groups together. Those that share a transaction share a promise, because a promise
 * for each would be a good part of what a commit costs. In the thread of the coordinator.
 */
import { asMillraceError, type MillraceError } from '../base/errors.ts'
import type { CommitOffsets, OffsetCommitAnswer } from './actions.ts'
import type { OffsetStorage } from './storage.ts'

/** Whoever waits for the answer. */
export interface Caller<A> {
  readonly resolve: (answer: A) => void
  readonly reject: (error: MillraceError) => void
}

const COMMITTED: OffsetCommitAnswer = { type: 'OffsetCommit' }

export class CommitBatch {
  readonly #offsets: OffsetStorage
  readonly #underWay: (done: Promise<void>) => void
  /** The transaction that takes further commits, and the callers of those that it has. */
  #transaction: Promise<void> | undefined
  #callers: Caller<OffsetCommitAnswer>[] = []

  /** @param underWay is told of each transaction, with a promise that resolves when it is answered */
  constructor(offsets: OffsetStorage, underWay: (done: Promise<void>) => void) {
    this.#offsets = offsets
    this.#underWay = underWay
  }

  /** Takes a commit; the caller is answered when it is on disk. One that is refused does not concern the others. */
  add({ groupId, offsets, committedAtMs }: CommitOffsets, caller: Caller<OffsetCommitAnswer>): void {
    let transaction: Promise<void>
    try {
      transaction = this.#offsets.submit(groupId, offsets, committedAtMs)
    } catch (error) {
      caller.reject(asMillraceError(error))
      return
    }
    if (transaction !== this.#transaction) this.#begin(transaction)
    this.#callers.push(caller)
  }

  #begin(transaction: Promise<void>): void {
    const callers: Caller<OffsetCommitAnswer>[] = []
    this.#transaction = transaction
    this.#callers = callers
    this.#underWay(
      transaction.then(
        () => {
          for (const { resolve } of callers) resolve(COMMITTED)
        },
        (reason: unknown) => {
          const error = asMillraceError(reason)
          for (const { reject } of callers) reject(error)
        },
      ),
    )
  }
}
