/**
 * Messages between the broker's thread and a worker loop that parks in `Atomics.wait` and therefore never sees an event:
 * the loop takes them off its port synchronously when its mail word moved. Orders that need an answer carry a `reply`
 * number; the answer goes back over the same port as data, errors included.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { toErrorData } from '../engine/base/errors.ts'
import type { Mail, WorkerEvent } from '../engine/log/mail.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'

export class Mailbox {
  readonly #port: MessagePort
  readonly #memory: EngineMemory
  readonly #thread: number
  #received = 0

  constructor(port: MessagePort, memory: EngineMemory, thread: number) {
    this.#port = port
    this.#memory = memory
    this.#thread = thread
  }

  get waiting(): boolean {
    return this.#memory.mailCount(this.#thread) !== this.#received
  }

  /**
   * Handles every message that has arrived. `handle` returns the answer, or undefined when it will answer later or
   * when none is asked for; what it throws is sent back as the answer.
   */
  read(handle: (mail: Mail) => unknown): boolean {
    if (!this.waiting) return false
    this.#received = this.#memory.mailCount(this.#thread)
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Mail } | undefined
      if (received === undefined) return true
      const mail = received.message
      try {
        const value = handle(mail)
        if (mail.reply !== undefined && value !== LATER) this.answer(mail.reply, value)
      } catch (error) {
        if (mail.reply === undefined) throw error
        this.post({ kind: 'answer', reply: mail.reply, error: toErrorData(error) })
      }
    }
  }

  answer(reply: number, value: unknown): void {
    this.post({ kind: 'answer', reply, value })
  }

  post(event: WorkerEvent): void {
    this.#port.postMessage(event)
  }

  close(): void {
    this.#port.close()
  }
}

/** Returned by a handler that answers by itself later. */
export const LATER = Symbol('answered later')
