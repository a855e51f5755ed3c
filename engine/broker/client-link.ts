/**
 * What producers and readers need of a broker, wherever they run: the broker itself in its own thread, or a port to it
 * from a worker thread of the service. Both sides of the port are here; what crosses is plain data.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import {
  type ErrorCode,
  type ErrorData,
  type ErrorDetails,
  fromErrorData,
  MillraceError,
  toErrorData,
} from '../base/errors.ts'
import { EngineMemory, type EngineMemoryHandle } from '../memory/engine-memory.ts'
import type { ProducerGrant, ProducerMemory } from './producers.ts'
import type { SchemaCall, SchemaService } from './schema-service.ts'
import type { ClientTopic } from './topic-metadata.ts'

export interface ClientLink {
  readonly memory: EngineMemory
  /** @throws UNKNOWN_TOPIC_OR_PARTITION */
  topic(topic: string): Promise<ClientTopic>
  attachProducer(memory: ProducerMemory): Promise<ProducerGrant>
  reattachProducer(producerId: number, writer: number): Promise<SharedArrayBuffer>
  detachProducer(producerId: number): Promise<void>
  /** An id for an idempotent producer that no other has. */
  allocateProducerId(): Promise<number>
  /** A call to the registry of schemas. @throws what the call does */
  schemas<C extends SchemaCall>(call: C, ...args: Parameters<SchemaService[C]>): Promise<ReturnType<SchemaService[C]>>
  /** A call to the queues, which know what it carries: engine/group/share/share-calls.ts. */
  share(call: string, request: unknown): Promise<unknown>
  /** A call of a consumer, which knows what it carries: engine/group/group-calls.ts. */
  group(call: string, request: unknown): Promise<unknown>
  /** True for an error that is not the broker's answer: the call may have been carried out. */
  isUnanswered(error: unknown): boolean
}

type Call = keyof Omit<ClientLink, 'memory' | 'isUnanswered'>

interface CallMessage {
  readonly id: number
  readonly call: Call
  readonly args: readonly unknown[]
}

interface ReturnMessage {
  readonly id: number
  readonly value?: unknown
  readonly error?: ErrorData
}

/** Posted to a worker thread; `port` has to be in the transfer list. */
export interface ThreadHandle {
  readonly memory: EngineMemoryHandle
  readonly port: MessagePort
}

/** A link, or as much of it as a thread needs. */
export type ServedLink = Partial<ClientLink> & Pick<ClientLink, 'memory'>

/**
 * Serves one worker thread.
 * @param gone called with the producers that the thread left attached, once its port has closed, as it does when the thread dies
 */
export function serveThread(link: ServedLink, gone: (producerIds: readonly number[]) => void): ThreadHandle {
  const { port1, port2 } = new MessageChannel()
  const attached = new Set<number>()
  let isGone = false
  port1.on('message', ({ id, call, args }: CallMessage) => {
    const method = link[call] as ((...args: readonly unknown[]) => Promise<unknown>) | undefined
    const carriedOut = method?.apply(link, args as unknown[]) ?? Promise.reject(notServed(call))
    carriedOut.then(
      value => {
        if (call === 'attachProducer') {
          const { producerId } = value as ProducerGrant
          if (isGone) gone([producerId])
          else attached.add(producerId)
        }
        if (call === 'detachProducer') attached.delete(args[0] as number)
        port1.postMessage({ id, value } satisfies ReturnMessage)
      },
      (error: unknown) => port1.postMessage({ id, error: toErrorData(error, 'IO_ERROR') } satisfies ReturnMessage),
    )
  })
  port1.on('close', () => {
    isGone = true
    gone([...attached])
  })
  port1.unref()
  return { memory: link.memory.handle, port: port2 }
}

const notServed = (call: string): MillraceError =>
  new MillraceError('INVALID_ARGUMENT', { argument: 'call', value: call })

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly timer: NodeJS.Timeout
}

/** The link of a worker thread. */
export class PortLink implements ClientLink {
  readonly memory: EngineMemory
  readonly #port: MessagePort
  readonly #timeoutMs: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #unanswered = new WeakSet<object>()
  #nextId = 1
  #closed = false

  constructor(handle: ThreadHandle, timeoutMs: number) {
    this.memory = new EngineMemory(handle.memory)
    this.#port = handle.port
    this.#timeoutMs = timeoutMs
    handle.port.on('message', (message: ReturnMessage) => this.#returned(message))
    handle.port.on('close', () => this.#failAll())
    handle.port.unref()
  }

  topic(topic: string): Promise<ClientTopic> {
    return this.#call('topic', topic)
  }

  attachProducer(memory: ProducerMemory): Promise<ProducerGrant> {
    return this.#call('attachProducer', memory)
  }

  reattachProducer(producerId: number, writer: number): Promise<SharedArrayBuffer> {
    return this.#call('reattachProducer', producerId, writer)
  }

  detachProducer(producerId: number): Promise<void> {
    return this.#call('detachProducer', producerId)
  }

  allocateProducerId(): Promise<number> {
    return this.#call('allocateProducerId')
  }

  schemas<C extends SchemaCall>(call: C, ...args: Parameters<SchemaService[C]>): Promise<ReturnType<SchemaService[C]>> {
    return this.#call('schemas', call, ...args)
  }

  share(call: string, request: unknown): Promise<unknown> {
    return this.#call('share', call, request)
  }

  group(call: string, request: unknown): Promise<unknown> {
    return this.#call('group', call, request)
  }

  isUnanswered(error: unknown): boolean {
    return this.#unanswered.has(Object(error))
  }

  #unansweredError(code: ErrorCode, details: ErrorDetails): MillraceError {
    const error = new MillraceError(code, details)
    this.#unanswered.add(error)
    return error
  }

  /** Ends the link; what waits for an answer fails. */
  close(): void {
    this.#port.close()
    this.#failAll()
  }

  #call<T>(call: Call, ...args: unknown[]): Promise<T> {
    if (this.#closed) return Promise.reject(this.#unansweredError('CLOSED', { call }))
    const id = this.#nextId++
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(this.#unansweredError('TIMED_OUT', { call, timeoutMs: this.#timeoutMs }))
      }, this.#timeoutMs)
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, timer })
      this.#port.postMessage({ id, call, args } satisfies CallMessage)
    })
  }

  #returned({ id, value, error }: ReturnMessage): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    clearTimeout(waiting.timer)
    if (error === undefined) waiting.resolve(value)
    else waiting.reject(fromErrorData(error))
  }

  #failAll(): void {
    this.#closed = true
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(this.#unansweredError('CLOSED', { thread: 'broker' }))
    }
    this.#waiting.clear()
  }
}
