/** Ids of idempotent producers, unique in the cluster: each broker takes blocks of them from the metadata store. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import { KEY } from './cluster-state.ts'
import type { MetadataStore } from './metadata-store.ts'

/** As Kafka's blocks. What a broker does not use of one is lost with it; there are 2^53. */
const BLOCK = 1_000
const ATTEMPTS = 50
const RETRY_MS = 10

export class ClusterProducerIds {
  readonly #store: MetadataStore
  #next = 0
  #end = 0
  #taking: Promise<void> | undefined

  constructor(store: MetadataStore) {
    this.#store = store
  }

  /** An id that no other producer of the cluster has or had. @throws METADATA_STORE_UNAVAILABLE, CORRUPT_STORE */
  async allocate(): Promise<number> {
    while (this.#next === this.#end) {
      this.#taking ??= this.#take().finally(() => {
        this.#taking = undefined
      })
      await this.#taking
    }
    return this.#next++
  }

  async #take(): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const entry = await this.#store.get(KEY.producerIds)
      const first = entry === undefined ? 0 : nextOf(entry.value)
      const write = { key: KEY.producerIds, value: JSON.stringify({ next: first + BLOCK }) }
      const outcome = await this.#store.commit([{ key: KEY.producerIds, version: entry?.version ?? 0 }], [write])
      if (outcome.kind === 'done') {
        this.#next = first
        this.#end = first + BLOCK
        return
      }
      await sleep(RETRY_MS) // a block whose outcome is not known is left unused
    }
    throw new MillraceError('METADATA_STORE_UNAVAILABLE', { key: KEY.producerIds, attempts: ATTEMPTS })
  }
}

function nextOf(value: string): number {
  const { next } = JSON.parse(value) as { next?: unknown }
  if (!Number.isSafeInteger(next)) throw new MillraceError('CORRUPT_STORE', { key: KEY.producerIds, reason: 'shape' })
  return next as number
}
