/**
 * Keeps a writer off the processor of the producer that it works for. The kernel places two threads that wake each other on one
 * processor or on two by chance, and stays with it: on one they take turns, and half of what the machine could do is lost.
 * For a lone request that is as good, even better; so it is done only while one producer presses.
 *
 * The producer's thread tells on which processor it runs. A writer that finds itself there keeps away from it for a while, and
 * looks again later: the producer is never tied down, and the writer only while it has that one producer to work for.
 */
import { allowCpus, allowedCpus, currentCpu } from '../engine/memory/libc.ts'

/** Between two looks. */
const LOOK_MS = 0.2
/** For how long a writer stays away without having met the producer again. */
const APART_MS = 500

export class Placement {
  /** What the thread was allowed when it started: a service may have tied itself to some processors. */
  readonly #allowed = allowedCpus()
  readonly #set = new Uint8Array(this.#allowed.length)
  #isApart = false
  #nextMs = 0
  #apartUntilMs = 0

  /** @param producerCpu of the only producer that is busy; -1 when not known */
  keepApart(producerCpu: number, nowMs: number): void {
    if (nowMs < this.#nextMs) return
    this.#nextMs = nowMs + LOOK_MS
    if (producerCpu === -1 || producerCpu >> 3 >= this.#set.length || producerCpu !== currentCpu()) return
    this.#set.set(this.#allowed)
    this.#set[producerCpu >> 3] = (this.#set[producerCpu >> 3] as number) & ~(1 << (producerCpu & 7))
    this.#isApart = this.#set.some(byte => byte !== 0) && allowCpus(this.#set)
    this.#apartUntilMs = nowMs + APART_MS
  }

  /** Lets the kernel decide again, when the two have not met for a while. */
  relax(nowMs: number): void {
    if (this.#isApart && nowMs > this.#apartUntilMs) this.#isApart = !allowCpus(this.#allowed)
  }
}
