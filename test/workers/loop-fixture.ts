/** A service loop in a real thread, with a test in the writer's place: it gives orders, takes replies and posts mail. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import type { Mail, WorkerEvent } from '../../engine/log/mail.ts'
import { ERROR_CODES } from '../../engine/memory/append-channel.ts'
import { SLOT } from '../../engine/memory/control-block.ts'
import { createEngineMemory, EngineMemory, SERVICE, STOP_PHASE } from '../../engine/memory/engine-memory.ts'
import { type ServiceMessage, serviceRingBuffer, writerServiceEnd } from '../../engine/memory/service-ring.ts'

export const SLOT_NUMBER = 5

export class LoopFixture {
  readonly folder = mkdtempSync(join(tmpdir(), 'millrace-loop-'))
  readonly partitionFolder = join(this.folder, 't-0')
  readonly memory: EngineMemory
  readonly events: WorkerEvent[] = []
  readonly ended: Promise<void>
  /** Turns of its event loop. */
  turns = 0
  readonly #thread: number
  readonly #end: ReturnType<typeof writerServiceEnd>
  readonly #port: MessagePort
  #replies = 0

  constructor(service: keyof typeof SERVICE) {
    mkdirSync(this.partitionFolder)
    this.memory = new EngineMemory(createEngineMemory(this.folder))
    this.memory.control.clear(SLOT_NUMBER)
    this.#thread = SERVICE[service]
    const ring = serviceRingBuffer()
    this.#end = writerServiceEnd(ring)
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    port1.on('message', (event: WorkerEvent) => this.events.push(event))
    const rings = service === 'indexer' ? [] : [ring]
    const start = { memory: this.memory.handle, port: port2, thread: this.#thread, rings }
    const entry = new URL(`../../workers/${service}.ts`, import.meta.url).href
    const worker = new Worker(new URL('run-loop.ts', import.meta.url), {
      workerData: { entry, start },
      transferList: [port2],
      trackUnmanagedFds: false, // descriptors are handed from thread to thread
    })
    this.ended = new Promise((resolve, reject) => {
      worker.on('message', (message: 'ended' | { readonly turns: number }) => {
        if (message === 'ended') resolve()
        else this.turns = message.turns
      })
      worker.once('error', reject)
    })
  }

  get slotGeneration(): number {
    return this.memory.control.get(SLOT_NUMBER, SLOT.slotGeneration)
  }

  /** Tells the loop of the partition. */
  serve(): void {
    const { slotGeneration, partitionFolder: directory } = this
    const partition = { slot: SLOT_NUMBER, slotGeneration, directory, indexIntervalBytes: 200, indexBytesMax: 65_536 }
    this.post({ kind: 'serve', partitions: [partition] })
  }

  post(mail: Mail): void {
    this.#port.postMessage(mail)
    this.memory.postedTo(this.#thread)
  }

  /** Posts a mail that asks for an answer. */
  async ask(mail: Mail): Promise<WorkerEvent & { kind: 'answer' }> {
    const reply = ++this.#replies
    this.post({ ...mail, reply } as Mail)
    return this.#eventually(() => {
      const found = this.events.find(event => event.kind === 'answer' && event.reply === reply)
      return found as (WorkerEvent & { kind: 'answer' }) | undefined
    })
  }

  order(order: Partial<ServiceMessage> & { kind: number }): void {
    const empty = { slot: SLOT_NUMBER, slotGeneration: this.slotGeneration, fd: -1, status: 0, a: 0, b: 0, c: 0 }
    if (!this.#end.orders.push({ ...empty, ...order })) throw new Error('the ring is full')
    this.memory.cell(this.#thread).wake()
  }

  /** The next reply, with the code of its error. */
  async reply(): Promise<ServiceMessage & { code: string | undefined }> {
    const reply = await this.#eventually(() => this.#end.replies.shift())
    return { ...reply, code: reply.status === 0 ? undefined : ERROR_CODES[reply.status - 1] }
  }

  get hasReply(): boolean {
    return this.#end.replies.waiting
  }

  /** Resolves when its event loop has turned so often. */
  async turned(times: number): Promise<void> {
    await this.#eventually(() => (this.turns >= times ? true : undefined))
  }

  /** The first event of a kind. */
  event(kind: WorkerEvent['kind']): Promise<WorkerEvent> {
    return this.#eventually(() => this.events.find(event => event.kind === kind))
  }

  async #eventually<T>(look: () => T | undefined, timeoutMs = 10_000): Promise<T> {
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      if (performance.now() > deadlineMs) throw new Error(`nothing in ${timeoutMs} ms`)
      await new Promise(resolve => setTimeout(resolve, 1))
    }
  }

  async close(): Promise<void> {
    this.memory.stop(STOP_PHASE.services)
    await this.ended
    this.#port.close()
    this.memory.release()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
