/** The engine as another thread of the service sees it: all but its administration, over a posted handle. */
import { MillraceError } from '../engine/base/errors.ts'
import { PortLink, type ThreadHandle } from '../engine/broker/client-link.ts'
import { ReaderPool } from '../engine/broker/reader-pool.ts'
import { Consumer } from './consumer.ts'
import { LocalBackend } from './consumer-backend.ts'
import type { ConsumerOptions } from './consumer-types.ts'
import { Lookup } from './lookup.ts'
import { Producer } from './producer.ts'
import { Queue } from './queue.ts'
import type { QueueOptions } from './queue-types.ts'
import { LocalSource } from './read-source.ts'
import { Reader } from './reader.ts'
import { Schemas } from './schemas.ts'
import type { ProducerOptions, ReaderOptions } from './types.ts'

const CALL_TIMEOUT_MS = 30_000

export class ThreadClient {
  readonly schemas: Schemas
  readonly #link: PortLink
  readonly #producers = new Set<Producer>()
  readonly #consumers = new Set<Consumer>()
  readonly #queues = new Set<Queue>()
  readonly #readers = new ReaderPool()

  /** @internal Use `attachThread`. */
  constructor(handle: ThreadHandle) {
    this.#link = new PortLink(handle, CALL_TIMEOUT_MS)
    this.schemas = new Schemas(this.#link)
  }

  /** As `Millrace.producer`. */
  async producer(options: ProducerOptions = {}): Promise<Producer> {
    const producer: Producer = await Producer.attach(this.#link, options, () => this.#producers.delete(producer))
    this.#producers.add(producer)
    return producer
  }

  /** As `Millrace.consumer`. */
  consumer(options: ConsumerOptions = {}): Consumer {
    const consumer: Consumer = new Consumer(
      new LocalBackend(this.#link, this.#readers, options.checkCrc ?? true),
      options,
      () => this.#consumers.delete(consumer),
    )
    this.#consumers.add(consumer)
    return consumer
  }

  /** As `Millrace.reader`. */
  reader(options: ReaderOptions): Reader {
    return new Reader(new LocalSource(this.#link, this.#readers, options.checkCrc ?? true), options)
  }

  /** As `Millrace.lookup`. */
  async lookup(topic: string): Promise<Lookup> {
    return new Lookup(new LocalSource(this.#link, this.#readers, true), await this.#link.topic(topic))
  }

  /** As `Millrace.queue`. */
  queue(name: string, options: QueueOptions = {}): Queue {
    const queue: Queue = new Queue(this.#link, this.#readers, name, options, () => this.#queues.delete(queue))
    this.#queues.add(queue)
    return queue
  }

  /** Closes this thread's consumers, queues and producers and gives the port back. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#consumers].map(consumer => consumer.close()))
    await Promise.allSettled([...this.#queues].map(queue => queue.close()))
    await Promise.allSettled([...this.#producers].map(producer => producer.close()))
    this.#readers.close()
    this.#link.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Attaches this thread to the engine that made the handle. A handle serves one thread.
 * @throws INVALID_ARGUMENT for what is no handle, IO_ERROR when the engine's directory is gone
 */
export function attachThread(handle: ThreadHandle): ThreadClient {
  const { memory, port } = Object(handle) as Partial<ThreadHandle>
  if (memory === undefined || typeof port?.postMessage !== 'function') {
    const accepted = 'what engine.threadHandle() returned, posted with its port in the transfer list'
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'handle', accepted })
  }
  return new ThreadClient(handle)
}
