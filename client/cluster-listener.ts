/** A served engine as one broker of a cluster: joins it over the metadata store that an address names, and leaves it in order. */
import { MillraceError } from '../engine/base/errors.ts'
import { bootId } from '../engine/broker/boot-id.ts'
import type { ClusterNode } from '../engine/cluster/cluster-node.ts'
import type { MetadataStore } from '../engine/cluster/metadata-store.ts'
import { openMetadata } from '../engine/cluster/open-metadata.ts'
import type { ClusterView } from '../engine/kafka/cluster-view.ts'
import type { JoinOptions, KafkaServer } from '../engine/kafka/server/server.ts'

export interface ClusterListenOptions extends JoinOptions {
  /** Metadata store: `lmdb:DIRECTORY` for brokers of one machine, `etcd://host:port[,host:port…][/prefix]` for those of many. */
  readonly store: string
  /** How long closing waits for others to take over what this broker leads. Default 10,000. */
  readonly drainMs?: number
  /** Told of what went wrong and is tried again, and of unclean elections. Default: nobody. */
  readonly report?: (error: MillraceError) => void
}

export class ClusterListener {
  readonly node: ClusterNode
  readonly #store: MetadataStore
  readonly #drainMs: number
  readonly #server: KafkaServer

  private constructor(node: ClusterNode, server: KafkaServer, store: MetadataStore, drainMs: number) {
    this.#server = server
    this.node = node
    this.#store = store
    this.#drainMs = drainMs
  }

  /** @throws INVALID_ARGUMENT, DUPLICATE_BROKER, METADATA_STORE_UNAVAILABLE */
  static async join(server: KafkaServer, options: ClusterListenOptions): Promise<ClusterListener> {
    const { store: address, drainMs = 10_000, report = () => {}, ...rest } = options
    const store = await openMetadata({ address, bootId: bootId() })
    try {
      return new ClusterListener(await server.joinCluster(store, rest, report), server, store, drainMs)
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** What changes the topics of the cluster. */
  get topics(): ClusterView {
    return this.#server.cluster
  }

  /** Others take over; then this broker takes no part any more, and its engine can be closed. */
  async retire(): Promise<void> {
    await this.node.drain(this.#drainMs).catch(error => {
      if (!(error instanceof MillraceError)) throw error // nobody to give anything to: they will find out
    })
    await this.node.retire()
  }

  /** After the engine was closed. */
  async leave(isClean: boolean): Promise<void> {
    await this.node.leave(isClean)
    await this.#store.close()
  }
}
