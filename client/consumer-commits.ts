/**
 * Commits of one consumer on their way to the coordinator. One request is under way at a time, and all that comes meanwhile
 * shares the next, so commits are stored in the order in which they were made. When such a shared request is refused each
 * commit is tried by itself, since one for a partition that was lost does not speak for the others.
 */
import { setTimeout } from 'node:timers/promises'
import { isMillraceError } from '../engine/base/errors.ts'
import type { OffsetToCommit } from '../engine/group/requests.ts'
import { isPassing } from './group-membership.ts'

/** Tries of one request, over about 2 s, before its error is the caller's. */
const ATTEMPTS = 8
const RETRY_MS = 50

interface Commit extends PromiseWithResolvers<void> {
  readonly offsets: readonly OffsetToCommit[]
}

export interface CommitTarget {
  /** Resolves when they are stored. */
  send(offsets: readonly OffsetToCommit[]): Promise<unknown>
  /** The member's epoch was an old one: find out what it is. */
  refresh(): Promise<void>
}

export class ConsumerCommits {
  readonly #target: CommitTarget
  #waiting: Commit[] = []
  #running: Promise<void> | undefined

  constructor(target: CommitTarget) {
    this.#target = target
  }

  /** Resolves when they are stored. @throws as the coordinator refuses them */
  add(offsets: readonly OffsetToCommit[]): Promise<void> {
    if (offsets.length === 0) return this.settled()
    const commit = { offsets, ...Promise.withResolvers<void>() }
    this.#waiting.push(commit)
    this.#running ??= this.#run()
    return commit.promise
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    await Promise.resolve() // those of one turn go together
    while (this.#waiting.length > 0) {
      const commits = this.#waiting
      this.#waiting = []
      try {
        await this.#send(newestOf(commits))
        for (const { resolve } of commits) resolve()
      } catch (error) {
        if (commits.length === 1) commits[0]?.reject(error)
        else for (const { offsets, resolve, reject } of commits) await this.#send(offsets).then(resolve, reject)
      }
    }
    this.#running = undefined
  }

  async #send(offsets: readonly OffsetToCommit[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#target.send(offsets)
        return
      } catch (error) {
        const isStale = isMillraceError(error, 'STALE_MEMBER_EPOCH')
        if (attempt === ATTEMPTS || !(isStale || isPassing(error))) throw error
        if (isStale) await this.#target.refresh()
        else await setTimeout(RETRY_MS * attempt)
      }
    }
  }
}

/** Of each partition the last one that was handed in. */
function newestOf(commits: readonly Commit[]): OffsetToCommit[] {
  const newest = new Map<string, OffsetToCommit>()
  for (const { offsets } of commits) {
    for (const offset of offsets) newest.set(`${offset.topicId} ${offset.partition}`, offset)
  }
  return [...newest.values()]
}
