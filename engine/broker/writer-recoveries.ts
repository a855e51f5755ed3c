/** Recoveries after writers died, one at a time. Used by the broker's thread. */
import { setTimeout } from 'node:timers/promises'

/** Another thread that is needed for it may die meanwhile; it is replaced as well, and then this is tried again. */
const ATTEMPTS = 10
const PAUSE_MS = 20

export class WriterRecoveries {
  readonly #recover: (writer: number) => Promise<void>
  #last: Promise<unknown> = Promise.resolve()

  constructor(recover: (writer: number) => Promise<void>) {
    this.#recover = recover
  }

  /** Resolves when the partitions of a writer that died are served again. Only the death of further threads makes it fail. */
  async run(writer: number): Promise<void> {
    const turn = this.#last.then(() => this.#attempt(writer))
    this.#last = turn.catch(() => undefined)
    await turn
  }

  async #attempt(writer: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#recover(writer)
      } catch (error) {
        if (attempt === ATTEMPTS) throw error
        await setTimeout(PAUSE_MS * attempt)
      }
    }
  }
}
