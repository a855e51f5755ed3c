/** The consumer groups of a running engine: their coordinator, who watches them, and the sessions of threads. In the broker's thread. */
import { isMillraceError, type MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import { BrokerTopics } from './broker-topics.ts'
import type { GroupConfig } from './config.ts'
import { GroupCoordinator } from './coordinator.ts'
import { EMBEDDED_HOST, GroupSession, leaveEmbedded } from './group-session.ts'
import { GroupWatch } from './group-watch.ts'
import type { LateJournal } from './late-journal.ts'

export class Groups {
  readonly coordinator: GroupCoordinator
  readonly topics: BrokerTopics
  readonly #broker: Broker
  readonly #watch = new GroupWatch()
  /** Of a broker that is one of several. */
  readonly replication: LateJournal | undefined

  /**
   * @param replication of a broker that is one of several
   * @throws CORRUPT_STORE, INVALID_ARGUMENT for a configuration that makes no sense
   */
  constructor(
    broker: Broker,
    config: Partial<GroupConfig>,
    isQueue: (groupId: string) => boolean,
    replication?: LateJournal,
  ) {
    this.#broker = broker
    this.replication = replication
    this.topics = new BrokerTopics(broker)
    this.coordinator = new GroupCoordinator(replication?.storage ?? broker.store, this.topics, {
      config,
      ...(replication === undefined ? {} : { gate: replication.gate }),
      warn: error => broker.emit('warning', error),
      changed: groupId => this.#watch.changed(groupId),
      isQueue,
    })
    if (replication === undefined) this.#removeDead() // else whoever takes a group over finds its members dead
  }

  /** Embedded members live and die with the process that owns the directory: those that are stored are of one that is gone. */
  #removeDead(): void {
    for (const { groupId, members } of this.#broker.store.groups.list()) {
      for (const { type, memberId, instanceId, clientHost } of members) {
        if (type !== 'consumer' || clientHost !== EMBEDDED_HOST) continue
        leaveEmbedded(this.coordinator, groupId, memberId, instanceId).catch((error: unknown) => {
          // A static one may be away already.
          if (!isMillraceError(error, 'UNKNOWN_MEMBER_ID') && !isMillraceError(error, 'CLOSED'))
            this.#broker.emit('warning', error as MillraceError)
        })
      }
    }
  }

  /** For the calls of one thread. */
  session(): GroupSession {
    return new GroupSession(this.coordinator, this.#broker, this.topics, this.#watch)
  }

  /** Refuses what waits, and resolves when what was to be stored is. */
  async close(): Promise<void> {
    this.#watch.close()
    await this.coordinator.close()
  }
}
