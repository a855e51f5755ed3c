/**
 * The order of asynchronous writes. Everything that is handed in goes to disk in that order: writes of one turn of the
 * event loop, and all that arrive while an earlier transaction is being flushed, share the next one (group commit), so a
 * slow disk makes larger transactions instead of a longer queue. Owned by the broker's thread; LMDB's own thread
 * commits. At most one transaction is in flight, because only then is the order of what follows certain.
 *
 * lmdb's per-turn batching is switched off in favour of this: its hidden promise rejects unhandled when a commit fails.
 */

import type { Database, RootDatabase } from 'lmdb'
import { MillraceError } from '../base/errors.ts'
import { PENDING_WRITES_MAX } from '../base/limits.ts'
import type { FileRoom } from './file-room.ts'

/** How long a failed commit may take to say why. */
const CAUSE_WAIT_MS = 1000

/** One put, or a removal when `value` is undefined. */
export interface Write {
  readonly database: Database<string, Buffer>
  readonly key: Buffer
  readonly value: string | undefined
}

interface Step {
  readonly writes: Write[] | undefined
  readonly perform: () => Promise<void> | void
  readonly done: PromiseWithResolvers<void>
}

export class WriteQueue {
  readonly #root: RootDatabase<string, Buffer>
  readonly #steps: Step[] = []
  readonly #translate: (error: unknown) => unknown
  readonly #room: FileRoom
  #pendingWrites = 0
  #running = false

  /** @param translate makes the error that callers see of what lmdb reported */
  constructor(root: RootDatabase<string, Buffer>, room: FileRoom, translate: (error: unknown) => unknown) {
    this.#root = root
    this.#room = room
    this.#translate = translate
  }

  /** Writes that were handed in and are not on disk yet. */
  get pendingWrites(): number {
    return this.#pendingWrites
  }

  get idle(): boolean {
    return !this.#running
  }

  /**
   * Adds writes that go to disk together, in one transaction.
   * @returns resolves once they are durable; rejects with the translated error, and then none of them was written
   * @throws BACK_PRESSURE
   */
  submit(writes: readonly Write[]): Promise<void> {
    if (this.#pendingWrites + writes.length > PENDING_WRITES_MAX) {
      throw new MillraceError('BACK_PRESSURE', { pendingWrites: this.#pendingWrites, max: PENDING_WRITES_MAX })
    }
    this.#pendingWrites += writes.length
    const last = this.#steps.at(-1)
    if (last?.writes !== undefined) {
      for (const write of writes) last.writes.push(write)
      return last.done.promise
    }
    const all = writes.slice()
    return this.#add({ writes: all, perform: () => this.#commit(all), done: Promise.withResolvers() })
  }

  /** Runs `perform` once everything before it is on disk (or failed), and before anything that comes later. */
  run(perform: () => void): Promise<void> {
    return this.#add({ writes: undefined, perform, done: Promise.withResolvers() })
  }

  #add(step: Step): Promise<void> {
    this.#steps.push(step)
    if (!this.#running) {
      this.#running = true
      setImmediate(() => void this.#pump())
    }
    return step.done.promise
  }

  async #pump(): Promise<void> {
    for (let step = this.#steps.shift(); step !== undefined; step = this.#steps.shift()) {
      try {
        await step.perform()
        step.done.resolve()
      } catch (error) {
        step.done.reject(this.#translate(error))
      }
      this.#pendingWrites -= step.writes?.length ?? 0
    }
    this.#running = false
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    let bytes = 0
    for (const { key, value } of writes) bytes += key.length + (value === undefined ? 0 : Buffer.byteLength(value))
    const taken = this.#room.take(writes.length, bytes)
    try {
      await this.#root.batch(() => {
        for (const { database, key, value } of writes) {
          void (value === undefined ? database.remove(key) : database.put(key, value))
        }
      })
    } catch (error) {
      throw await causeOf(error)
    } finally {
      this.#room.committed(taken)
    }
  }
}

/** lmdb reports a failed commit by an error whose `commitError` is a promise that rejects with the reason. */
async function causeOf(error: unknown): Promise<unknown> {
  const cause = (error as { commitError?: unknown }).commitError
  const unknownCause = new MillraceError('IO_ERROR', { operation: 'commit' }, error)
  if (!(cause instanceof Promise)) return unknownCause
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const timer = setTimeout(resolve, CAUSE_WAIT_MS, unknownCause)
  cause.then(() => resolve(unknownCause), resolve)
  const reason = await promise
  clearTimeout(timer)
  return reason
}
