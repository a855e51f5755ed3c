/**
 * Brings partitions up again that stopped for a reason which passes: a full disk, a disk that fails for a while. One attempt
 * after another in the background, until one succeeds, the partition is removed, or the engine closes. Owned by the
 * broker's thread.
 */
import { setTimeout } from 'node:timers/promises'
import { type ErrorCode, type ErrorData, toErrorData } from '../base/errors.ts'

/** Between two attempts; doubles up to the longest. */
const PAUSE_MS = 200
const PAUSE_MAX_MS = 2_000

const PASSING: readonly ErrorCode[] = ['DISK_FULL', 'IO_ERROR']

/** True for what may go away by itself or by what the service does. */
export const mayPass = (code: ErrorCode): boolean => PASSING.includes(code)

interface UnderWay {
  readonly abort: AbortController
  readonly work: Promise<void>
}

export class Mending {
  readonly #underWay = new Map<number, UnderWay>()

  has(slot: number): boolean {
    return this.#underWay.has(slot)
  }

  /**
   * Attempts to bring up what is in a slot. Resolves when that worked or was given up.
   * @param failed told why each attempt failed
   */
  begin(
    slot: number,
    attempt: () => Promise<void>,
    failed: (error: ErrorData) => void,
    when: 'now' | 'later',
  ): Promise<void> {
    const abort = new AbortController()
    const work = attemptUntil(abort.signal, attempt, failed, when).finally(() => this.#underWay.delete(slot))
    this.#underWay.set(slot, { abort, work })
    return work
  }

  /** Gives a slot up; nobody works on its folder any more when this resolves. */
  async stop(slot: number): Promise<void> {
    const underWay = this.#underWay.get(slot)
    underWay?.abort.abort()
    await underWay?.work
  }

  stopAll(): void {
    for (const { abort } of this.#underWay.values()) abort.abort()
  }
}

async function attemptUntil(
  signal: AbortSignal,
  attempt: () => Promise<void>,
  failed: (error: ErrorData) => void,
  when: 'now' | 'later',
): Promise<void> {
  let pauseMs = when === 'now' ? 0 : PAUSE_MS
  for (;;) {
    if (pauseMs > 0) await setTimeout(pauseMs, undefined, { ref: false, signal }).catch(() => undefined)
    if (signal.aborted) return
    try {
      await attempt()
      return
    } catch (error) {
      failed(toErrorData(error, 'IO_ERROR'))
    }
    pauseMs = Math.min(Math.max(2 * pauseMs, PAUSE_MS), PAUSE_MAX_MS)
  }
}
