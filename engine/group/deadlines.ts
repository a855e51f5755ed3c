/**
 * What is due when: a binary heap of deadlines that their owners move. A session is put off by each heartbeat, so moving a
 * deadline later costs one store: the heap keeps it where it was and puts it right when it comes to the top. Moving it
 * earlier and cancelling take O(log n). Time comes from outside; nothing here reads a clock.
 */

export class Deadline<T> {
  /** Handed out when it is due. */
  readonly what: T
  /** Infinity while it is not set. */
  dueMs = Number.POSITIVE_INFINITY
  /** By what the heap sorts it; never above `dueMs`. */
  sortMs = Number.POSITIVE_INFINITY
  /** Place in the heap; -1 while it is not in it. */
  at = -1

  constructor(what: T) {
    this.what = what
  }

  get isSet(): boolean {
    return this.at >= 0
  }
}

export class Deadlines<T> {
  readonly #heap: Deadline<T>[] = []

  get size(): number {
    return this.#heap.length
  }

  set(deadline: Deadline<T>, dueMs: number): void {
    deadline.dueMs = dueMs
    if (deadline.at < 0) {
      deadline.sortMs = dueMs
      deadline.at = this.#heap.push(deadline) - 1
      this.#rise(deadline)
    } else if (dueMs < deadline.sortMs) {
      deadline.sortMs = dueMs
      this.#rise(deadline)
    }
  }

  cancel(deadline: Deadline<T>): void {
    if (deadline.at < 0) return
    const last = this.#heap.pop() as Deadline<T>
    if (last !== deadline) {
      this.#put(last, deadline.at)
      this.#rise(last)
      this.#sink(last)
    }
    deadline.at = -1
    deadline.dueMs = deadline.sortMs = Number.POSITIVE_INFINITY
  }

  /** When the first one is due; Infinity when none is set. */
  nextMs(): number {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined) return Number.POSITIVE_INFINITY
      if (top.sortMs === top.dueMs) return top.dueMs
      top.sortMs = top.dueMs
      this.#sink(top)
    }
  }

  /** The first that is due at `nowMs`, and no longer set; undefined when none is. */
  takeDue(nowMs: number): T | undefined {
    if (this.nextMs() > nowMs) return undefined
    const top = this.#heap[0] as Deadline<T>
    this.cancel(top)
    return top.what
  }

  #rise(deadline: Deadline<T>): void {
    let at = deadline.at
    while (at > 0) {
      const parent = this.#heap[(at - 1) >> 1] as Deadline<T>
      if (parent.sortMs <= deadline.sortMs) break
      this.#put(parent, at)
      at = (at - 1) >> 1
    }
    this.#put(deadline, at)
  }

  #sink(deadline: Deadline<T>): void {
    let at = deadline.at
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#heap.length) break
      const [left, right] = [this.#heap[child] as Deadline<T>, this.#heap[child + 1]]
      if (right !== undefined && right.sortMs < left.sortMs) child++
      const lesser = this.#heap[child] as Deadline<T>
      if (lesser.sortMs >= deadline.sortMs) break
      this.#put(lesser, at)
      at = child
    }
    this.#put(deadline, at)
  }

  #put(deadline: Deadline<T>, at: number): void {
    this.#heap[at] = deadline
    deadline.at = at
  }
}
