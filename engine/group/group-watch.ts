/**
 * Tells members that their group changed, so that they ask for their part of it at once and not with their next heartbeat.
 * In the broker's thread. A group has a version that rises with every change; whoever waits names the one it knows.
 */
import type { AwaitChangeCall } from './group-calls.ts'

interface Watched {
  version: number
  readonly waiting: Set<() => void>
}

export class GroupWatch {
  readonly #groups = new Map<string, Watched>()
  #lastVersion = 0

  /** The group changed. Nothing is kept of groups that nobody waits for. */
  changed(groupId: string): void {
    const watched = this.#groups.get(groupId)
    if (watched === undefined) return
    watched.version = ++this.#lastVersion
    for (const wake of [...watched.waiting]) wake()
  }

  /** The group's version, when it is not the given one any more, or after `waitMs`. Does not keep the process alive. */
  awaitChange({ groupId, version, waitMs }: AwaitChangeCall): Promise<number> {
    const watched = this.#watched(groupId)
    return new Promise(resolve => {
      const wake = (): void => {
        clearTimeout(timer)
        watched.waiting.delete(wake)
        resolve(watched.version)
      }
      const timer = setTimeout(wake, waitMs).unref()
      watched.waiting.add(wake)
      if (watched.version !== version) wake()
    })
  }

  /** The last member of a thread, or the group, is gone. */
  forget(groupId: string): void {
    if (this.#groups.get(groupId)?.waiting.size === 0) this.#groups.delete(groupId)
  }

  close(): void {
    for (const { waiting } of this.#groups.values()) for (const wake of [...waiting]) wake()
    this.#groups.clear()
  }

  #watched(groupId: string): Watched {
    let watched = this.#groups.get(groupId)
    if (watched === undefined) {
      watched = { version: ++this.#lastVersion, waiting: new Set() }
      this.#groups.set(groupId, watched)
    }
    return watched
  }
}
