/**
 * The descriptors that the logs of one writer keep open, least recently used first. A segment that is mapped needs its descriptor
 * only for what is rare, and to be told of errors: allocating, flushing, cutting. So with thousands of partitions most are without
 * one and open their file again when they need it. Owned by the writer's thread.
 *
 * An error in writing a file back is told to the descriptors that are open at that time. So whoever has stored what is not flushed
 * is flushed before its descriptor is closed, several at once, because the first flush of them does most of the work for all.
 */
import { syncFiles } from './sync-files.ts'

export interface FileUser {
  readonly fd: number
  /** Nobody is at work with the descriptor. */
  readonly mayRest: boolean
  /** Something was stored that is not flushed. */
  readonly isDirty: boolean
  /** Closes the descriptor; `error` is what a flush of it said, undefined when everything is durable. */
  restFile(error: unknown): void
}

/** This share of the descriptors is closed at once when there are too many. */
const RESTING_SHARE = 1 / 4

export class OpenFiles {
  readonly limit: number
  readonly #users = new Set<FileUser>()
  #youngest: FileUser | undefined

  /** @param limit descriptors; exceeded while more are at work */
  constructor(limit: number) {
    this.limit = limit
  }

  /** `user` has just opened or used its descriptor. */
  use(user: FileUser): void {
    if (user === this.#youngest) return
    this.#youngest = user
    this.#users.delete(user)
    this.#users.add(user)
    if (this.#users.size > this.limit) this.#restOldest(user)
  }

  /** `user` has no descriptor any more, or somebody else closes it. */
  forget(user: FileUser): void {
    this.#users.delete(user)
    if (user === this.#youngest) this.#youngest = undefined
  }

  #restOldest(current: FileUser): void {
    const resting: FileUser[] = []
    let looks = Math.ceil(this.limit * RESTING_SHARE)
    for (const user of this.#users) {
      if (user === current || looks-- === 0) break
      this.#users.delete(user)
      if (user.mayRest) resting.push(user)
      else this.#users.add(user) // it is in use
    }
    const dirty = resting.filter(user => user.isDirty)
    const errors = syncFiles(dirty.map(({ fd }) => fd))
    for (const [index, user] of dirty.entries()) user.restFile(errors[index])
    for (const user of resting) if (user.fd !== -1) user.restFile(undefined)
  }
}
