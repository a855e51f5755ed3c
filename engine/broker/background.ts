/**
 * Work that nobody waits for, except a close: repairs, restarts, and what is done at intervals. Broker's thread. None of it is lost
 * sight of, and what goes wrong in it is told.
 */
export class Background {
  readonly #failed: (error: unknown) => void
  readonly #timers: NodeJS.Timeout[] = []
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed
  }

  /** Does `work` at intervals, not before it has ended the last time. */
  every(intervalMs: number, work: () => Promise<unknown>): void {
    let isRunning = false
    const timer = setInterval(() => {
      if (isRunning) return
      isRunning = true
      this.run(work().finally(() => (isRunning = false)))
    }, intervalMs)
    timer.unref()
    this.#timers.push(timer)
  }

  run(work: Promise<unknown>): void {
    const guarded = work.catch(this.#failed)
    this.#underWay.add(guarded)
    void guarded.then(() => this.#underWay.delete(guarded))
  }

  stopTimers(): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  /** Resolves when nothing is under way. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }
}
