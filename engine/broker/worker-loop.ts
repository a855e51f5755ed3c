/**
 * The broker's end of one worker loop: starts it as a long task of a Piscina pool, posts mail to it, and matches the
 * answers. When the task ends before it was told to, everything that waits for an answer fails and `onCrash` is called.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import { fromErrorData, MillraceError } from '../base/errors.ts'
import type { LoopStart, Mail, WorkerEvent } from '../log/mail.ts'
import type { EngineMemory } from '../memory/engine-memory.ts'

/** A mail without its reply number. */
type Order = Mail extends infer M ? (M extends Mail ? Omit<M, 'reply'> : never) : never

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly timer: NodeJS.Timeout
}

export interface LoopEvents {
  event(event: WorkerEvent): void
  /** The task ended or its thread died although the loop was not told to stop. */
  crashed(error: unknown): void
}

export class WorkerLoop<Result> {
  readonly thread: number
  readonly #memory: EngineMemory
  readonly #port: MessagePort
  readonly #timeoutMs: number
  readonly #pending = new Map<number, Pending>()
  readonly #result: Promise<Result | undefined>
  #nextReply = 1
  #ended = false

  constructor(
    pool: Piscina,
    file: { readonly filename: string },
    thread: number,
    memory: EngineMemory,
    start: object,
    timeoutMs: number,
    events: LoopEvents,
  ) {
    this.thread = thread
    this.#memory = memory
    this.#timeoutMs = timeoutMs
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    port1.on('message', (event: WorkerEvent) => {
      if (event.kind === 'answer') this.#answered(event)
      else events.event(event)
    })
    port1.unref()
    const task: LoopStart = { ...start, memory: memory.handle, port: port2, thread }
    this.#result = (pool.run(task, { ...file, transferList: [port2] }) as Promise<Result>).then(
      result => {
        this.#end(new MillraceError('CLOSED', { thread }))
        return result
      },
      (error: unknown) => {
        this.#end(new MillraceError('WRITER_CRASHED', { thread }, error))
        events.crashed(error)
        return undefined
      },
    )
  }

  /** What the loop returned once it stopped; undefined when it crashed. */
  get result(): Promise<Result | undefined> {
    return this.#result
  }

  get ended(): boolean {
    return this.#ended
  }

  post(order: Order): void {
    this.#send(order as Mail)
  }

  /** Posts and waits for the answer. @throws what the loop threw, TIMED_OUT, WRITER_CRASHED, CLOSED */
  request<Answer>(order: Order, timeoutMs = this.#timeoutMs): Promise<Answer> {
    if (this.#ended) return Promise.reject(new MillraceError('WRITER_CRASHED', { thread: this.thread }))
    const reply = this.#nextReply++
    return new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(reply)
        reject(new MillraceError('TIMED_OUT', { request: order.kind, timeoutMs }))
      }, timeoutMs)
      this.#pending.set(reply, { resolve: resolve as (value: unknown) => void, reject, timer })
      this.#send({ ...order, reply } as Mail)
    })
  }

  #send(mail: Mail): void {
    this.#port.postMessage(mail)
    this.#memory.postedTo(this.thread)
  }

  #answered(event: WorkerEvent & { kind: 'answer' }): void {
    const pending = this.#pending.get(event.reply)
    if (pending === undefined) return // it came after its time-out
    this.#pending.delete(event.reply)
    clearTimeout(pending.timer)
    if (event.error === undefined) pending.resolve(event.value)
    else pending.reject(fromErrorData(event.error))
  }

  #end(error: MillraceError): void {
    this.#ended = true
    this.#port.close()
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer)
      pending.reject(error)
    }
    this.#pending.clear()
  }
}
