/**
 * What flusher, janitor and indexer have in common: a thread that runs as one long task, parks on its wake cell, knows
 * the partitions it serves, and takes orders off the rings of the writers. Nothing here lends views, so mappings are
 * unmapped by hand.
 */
import { setPriority } from 'node:os'
import type { MessagePort } from 'node:worker_threads'
import { MillraceError, toErrorData } from '../engine/base/errors.ts'
import type { LeftOpen, Mail, ServedPartition, ServiceStart } from '../engine/log/mail.ts'
import { statusOf } from '../engine/memory/append-channel.ts'
import { EngineMemory, STOP_PHASE } from '../engine/memory/engine-memory.ts'
import { type ServiceMessage, serviceEnd } from '../engine/memory/service-ring.ts'
import type { WakeCell } from '../engine/memory/wake-cell.ts'
import { EventLoopTurns } from './event-loop.ts'
import { Mailbox } from './mailbox.ts'

const PARK_MS = 1_000
const NICENESS = 10

export type ServiceEnd = ReturnType<typeof serviceEnd>

export abstract class ServiceLoop {
  protected readonly memory: EngineMemory
  protected readonly mailbox: Mailbox
  protected readonly partitions = new Map<number, ServedPartition>()
  readonly #cell: WakeCell
  readonly #ends: ServiceEnd[]
  readonly #turns = new EventLoopTurns()

  constructor(start: ServiceStart) {
    this.memory = new EngineMemory(start.memory, false, 'on release')
    this.#cell = this.memory.cell(start.thread)
    this.mailbox = new Mailbox(start.port as MessagePort, this.memory, start.thread)
    this.#ends = start.rings.map(ring => serviceEnd(ring))
  }

  async run(): Promise<void> {
    this.start()
    for (;;) {
      const worked = this.#pass()
      const nowMs = performance.now()
      if (this.#turns.due(nowMs)) await this.#turns.turn(nowMs)
      if (worked) continue
      if (this.memory.stopPhase >= STOP_PHASE.services) break
      this.#cell.announce()
      if (this.#hasWork()) this.#cell.cancel()
      else this.#cell.wait(this.parkMs())
    }
    this.stopped()
    this.mailbox.close()
    this.memory.release()
  }

  #pass(): boolean {
    let worked = this.readMail()
    for (let writer = 0; writer < this.#ends.length; writer++) {
      const end = this.#ends[writer] as ServiceEnd
      const message = end.orders.shift()
      if (message === undefined) continue
      worked = true
      this.order(message, reply => {
        // A writer takes its replies off before it gives further orders, so this ring cannot stay full.
        while (!end.replies.push(reply)) this.memory.cell(writer).wake()
        this.memory.cell(writer).wake()
      })
    }
    return this.work() || worked
  }

  protected readMail(): boolean {
    return this.mailbox.read(mail => this.#handle(mail))
  }

  #hasWork(): boolean {
    return this.mailbox.waiting || this.ordersWaiting || this.hasWork()
  }

  protected get ordersWaiting(): boolean {
    return this.#ends.some(end => end.orders.waiting)
  }

  #handle(mail: Mail): unknown {
    switch (mail.kind) {
      case 'serve':
        for (const partition of mail.partitions) this.partitions.set(partition.slot, partition)
        return undefined
      case 'detach':
        this.forget(mail.slot)
        this.partitions.delete(mail.slot)
        return undefined
      case 'rings':
        this.#drainDead(this.#ends[mail.writer] as ServiceEnd)
        this.#ends[mail.writer] = serviceEnd(mail.ring)
        this.closeLeft(mail.left)
        return undefined
      case 'settle':
        this.settle()
        return undefined
      default:
        throw new MillraceError('INVALID_ARGUMENT', { mail: mail.kind })
    }
  }

  /** The orders that a writer gave before it died are carried out; nobody takes the answers. */
  #drainDead(end: ServiceEnd): void {
    for (let message = end.orders.shift(); message !== undefined; message = end.orders.shift())
      this.order(message, () => {})
  }

  /** The partition of an order; the mail that announced it may not have been read yet. */
  protected partition(message: ServiceMessage): ServedPartition | undefined {
    if (!this.partitions.has(message.slot)) this.readMail()
    const partition = this.partitions.get(message.slot)
    return partition?.slotGeneration === message.slotGeneration ? partition : undefined
  }

  /** Runs in the loop's thread before anything else. */
  protected start(): void {}

  /** Carries an order out and answers it. */
  protected abstract order(message: ServiceMessage, answer: (reply: ServiceMessage) => void): void

  /** Work that no order asked for; false when there was none. */
  protected work(): boolean {
    return false
  }

  protected hasWork(): boolean {
    return false
  }

  protected parkMs(): number {
    return PARK_MS
  }

  protected forget(_slot: number): void {}

  protected closeLeft(_left: readonly LeftOpen[]): void {}

  protected settle(): void {}

  protected stopped(): void {}

  protected warn(error: unknown): void {
    this.mailbox.post({ kind: 'warning', error: toErrorData(error, 'IO_ERROR') })
  }
}

/**
 * Lets the threads that producers wait for go first when there are fewer processors than threads with work. On Linux
 * each thread has a niceness of its own; elsewhere it would be the whole process that steps back.
 */
export function stepBack(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(NICENESS)
  } catch {
    // A container may forbid it. Everything works without; it is only a preference.
  }
}

/** The answer to an order, with the status word of an error. */
export function replyTo(order: ServiceMessage, a: number, error?: unknown): ServiceMessage {
  const status = error === undefined ? 0 : statusOf(toErrorData(error, 'IO_ERROR').code)
  return { ...order, status, a, b: 0, c: 1 }
}
