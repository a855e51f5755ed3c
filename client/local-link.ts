/** The link of clients that run in the broker's own thread, and the broker's end of the link of another thread. */

import { MillraceError } from '../engine/base/errors.ts'
import type { Broker } from '../engine/broker/broker.ts'
import type { ClientLink } from '../engine/broker/client-link.ts'
import type { ProducerGrant, ProducerMemory } from '../engine/broker/producers.ts'
import type { SchemaCall, SchemaService } from '../engine/broker/schema-service.ts'
import type { ClientTopic } from '../engine/broker/topic-metadata.ts'
import type { GroupSession } from '../engine/group/group-session.ts'
import type { ShareSession } from '../engine/group/share/share-session.ts'
import type { EngineMemory } from '../engine/memory/engine-memory.ts'
import { SchemaRegistry } from '../engine/schema/schema-registry.ts'
import { callSchemas } from './schemas.ts'

export class LocalLink implements ClientLink {
  readonly #broker: Broker
  readonly #schemas: SchemaRegistry
  readonly #shares: ShareSession
  readonly #groups: GroupSession

  /** @param shares and @param groups of the thread that this link is for */
  constructor(broker: Broker, shares: ShareSession, groups: GroupSession) {
    this.#broker = broker
    this.#shares = shares
    this.#groups = groups
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

  async schemas<C extends SchemaCall>(
    call: C,
    ...args: Parameters<SchemaService[C]>
  ): Promise<ReturnType<SchemaService[C]>> {
    this.#broker.demandOpen()
    return callSchemas(this.#schemas, call, args)
  }

  isUnanswered(): boolean {
    return false
  }

  share(call: string, request: unknown): Promise<unknown> {
    return this.#shares.call(call, request)
  }

  group(call: string, request: unknown): Promise<unknown> {
    return this.#groups.call(call, request)
  }
}
