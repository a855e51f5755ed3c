/** The link of clients that run in the broker's own thread. */

import { MillraceError } from '../engine/base/errors.ts'
import type { Broker } from '../engine/broker/broker.ts'
import type { ClientLink, SchemaEntry } from '../engine/broker/client-link.ts'
import type { ProducerGrant, ProducerMemory } from '../engine/broker/producers.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'
import { SchemaRegistry } from '../engine/schema/schema-registry.ts'

export class LocalLink implements ClientLink {
  readonly #broker: Broker
  readonly #schemas: SchemaRegistry

  constructor(broker: Broker) {
    this.#broker = broker
    this.#schemas = new SchemaRegistry(broker.store.schemas)
  }

  get memory(): EngineMemory {
    return this.#broker.memory
  }

  async topic(topic: string): Promise<ClientTopic> {
    this.#broker.demandOpen()
    if (typeof topic !== 'string')
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'topic', type: typeof topic })
    return this.#broker.clientTopic(topic)
  }

  async attachProducer(memory: ProducerMemory): Promise<ProducerGrant> {
    this.#broker.demandOpen()
    return this.#broker.producers.attach(memory)
  }

  async reattachProducer(producerId: number, writer: number): Promise<SharedArrayBuffer> {
    this.#broker.demandOpen()
    return this.#broker.producers.reattach(producerId, writer)
  }

  detachProducer(producerId: number): Promise<void> {
    return this.#broker.producers.detach(producerId)
  }

  async allocateProducerId(): Promise<number> {
    this.#broker.demandOpen()
    return this.#broker.allocateProducerId()
  }

  async registerSchema(subject: string, schema: string): Promise<SchemaEntry> {
    this.#broker.demandOpen()
    return this.#schemas.register(subject, schema)
  }

  isUnanswered(): boolean {
    return false
  }

  async schema(id: number): Promise<SchemaEntry | undefined> {
    return this.#broker.store.schemas.get(id)
  }
}
