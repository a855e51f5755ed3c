/**
 * The calls of one thread to the group coordinator. It knows which members the thread has, so that they leave when it dies.
 * Lives in the broker's thread.
 */
import { MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import type { BrokerTopics } from './broker-topics.ts'
import type { GroupCoordinator } from './coordinator.ts'
import { demandDeadLetterTopic } from './dead-letter-topic.ts'
import {
  type GroupCall,
  type GroupCalls,
  type HeartbeatCall,
  type HeartbeatResult,
  plainHeartbeat,
} from './group-calls.ts'
import type { GroupWatch } from './group-watch.ts'

/** Embedded members have no address. */
export const EMBEDDED_HOST = 'embedded'

const LEAVE_EPOCH = -1
const STATIC_LEAVE_EPOCH = -2

type Handlers = { readonly [C in GroupCall]: (request: GroupCalls[C][0]) => Promise<GroupCalls[C][1]> }

export class GroupSession {
  readonly #coordinator: GroupCoordinator
  readonly #broker: Broker
  readonly #topics: BrokerTopics
  readonly #watch: GroupWatch
  /** By group and member id: the last heartbeat of each member. */
  readonly #members = new Map<string, HeartbeatCall>()
  readonly #handlers: Handlers
  #hasEnded = false

  constructor(coordinator: GroupCoordinator, broker: Broker, topics: BrokerTopics, watch: GroupWatch) {
    this.#coordinator = coordinator
    this.#broker = broker
    this.#topics = topics
    this.#watch = watch
    this.#handlers = {
      heartbeat: request => this.#heartbeat(request),
      commit: async request => {
        await coordinator.offsetCommit(request)
        return undefined
      },
      offsets: request => coordinator.offsetFetch(request, null),
      awaitChange: request => watch.awaitChange(request),
      deadLetterTopic: async ({ topic, recordsOf }) => {
        await demandDeadLetterTopic(broker, topic, [recordsOf])
        return undefined
      },
    }
  }

  /** @throws what the coordinator refuses the request for, CLOSED */
  async call(call: string, request: unknown): Promise<unknown> {
    if (!Object.hasOwn(this.#handlers, call))
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'call', value: call })
    if (this.#hasEnded) throw new MillraceError('CLOSED', { object: 'thread' })
    this.#broker.demandOpen()
    return this.#handlers[call as GroupCall](request as never)
  }

  async #heartbeat(request: HeartbeatCall): Promise<HeartbeatResult> {
    const { groupId, memberId, memberEpoch } = request
    const key = JSON.stringify([groupId, memberId])
    if (memberEpoch < 0) this.#members.delete(key)
    else this.#members.set(key, request)
    const answer = await this.#coordinator.consumerGroupHeartbeat({ ...request, clientHost: EMBEDDED_HOST })
    if (memberEpoch < 0) this.#watch.forget(groupId)
    else if (this.#hasEnded) this.#leave(request) // it joined when its thread was gone
    const topics = (answer.assignment ?? []).flatMap(({ topicId }) => {
      const topic = this.#topics.nameOf(topicId)
      return topic === undefined ? [] : [[topicId, topic] as const]
    })
    return { ...answer, topics }
  }

  /** The thread is gone: its members leave at once; static ones keep their place for their session timeout. */
  end(): void {
    this.#hasEnded = true
    for (const member of this.#members.values()) this.#leave(member)
    this.#members.clear()
  }

  #leave(member: HeartbeatCall): void {
    const { groupId, memberId, instanceId } = member
    leaveEmbedded(this.#coordinator, groupId, memberId, instanceId).then(
      () => this.#watch.forget(groupId),
      () => undefined, // it is out already, or goes with the engine
    )
  }
}

/** For a member that cannot say so itself any more. @throws as the coordinator */
export async function leaveEmbedded(
  coordinator: GroupCoordinator,
  groupId: string,
  memberId: string,
  instanceId: string | null,
): Promise<void> {
  const memberEpoch = instanceId === null ? LEAVE_EPOCH : STATIC_LEAVE_EPOCH
  const heartbeat = plainHeartbeat({ groupId, memberId, memberEpoch, instanceId, clientId: '' })
  await coordinator.consumerGroupHeartbeat({ ...heartbeat, clientHost: EMBEDDED_HOST })
}
