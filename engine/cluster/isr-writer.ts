/**
 * Writes leaders' proposals for their in-sync replicas to the metadata store, each by compare-and-swap with what it rests on, until it is decided:
 * done, refused, or overtaken by a new leader. What got no answer is written again, for an undecided proposal holds the high watermark.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import { brokerKey, type ClusterPartition, partitionValue, readPartition } from './cluster-state.ts'
import type { IsrProposal, Leadership } from './leadership.ts'
import type { MetadataStore } from './metadata-store.ts'

const RETRY_MS = 100

export class IsrWriter {
  readonly #store: MetadataStore
  readonly #brokerId: number
  readonly #decided: (key: string) => void
  readonly #underWay = new Set<Promise<void>>()
  #isClosed = false

  /** @param decided told when a proposal for a partition is decided */
  constructor(store: MetadataStore, brokerId: number, decided: (key: string) => void) {
    this.#store = store
    this.#brokerId = brokerId
    this.#decided = decided
  }

  /** @param state the partition under the leader epoch of the proposal */
  write(key: string, state: ClusterPartition, leadership: Leadership, proposal: IsrProposal): void {
    const work = this.#write(key, state, leadership, proposal).finally(() => this.#underWay.delete(work))
    this.#underWay.add(work)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#underWay)
  }

  async #write(key: string, state: ClusterPartition, leadership: Leadership, proposal: IsrProposal): Promise<void> {
    const { basedOn, brokerIds, comes } = proposal
    const checks = [
      { key, version: basedOn },
      ...comes.map(({ brokerId, brokerEpoch }) => ({ key: brokerKey(brokerId), version: brokerEpoch })),
    ]
    const { leaderEpoch } = leadership
    const writes = [{ key, value: partitionValue({ ...state, leader: this.#brokerId, leaderEpoch, isr: brokerIds }) }]
    while (!this.#isClosed && leadership.proposal === proposal) {
      try {
        const outcome = await this.#store.commit(checks, writes)
        if (outcome.kind === 'done') leadership.stored({ brokerIds, version: outcome.version })
        else if (outcome.kind === 'refused') {
          const found = outcome.found.find(entry => entry.key === key)
          const now = found === undefined ? undefined : readPartition(found)
          // Another leader, or epoch: this leadership is over, and whoever made it will know.
          if (now === undefined || now.leader !== this.#brokerId || now.leaderEpoch !== leaderEpoch) return
          leadership.refused(proposal, { brokerIds: now.isr, version: now.version })
        }
        if (outcome.kind !== 'undecided') {
          this.#decided(key)
          return
        }
      } catch (error) {
        if (!(error instanceof MillraceError) || !error.retriable) return // closed, or a store that cannot be read: its reader tells
      }
      await sleep(RETRY_MS)
    }
  }
}
