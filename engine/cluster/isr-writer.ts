/**
 * Writes leaders' proposals for their in-sync replicas to the metadata store, each by compare-and-swap with what it rests on, until it is decided:
 * done, refused, or overtaken by a new leader. What got no answer is written again, for an undecided proposal holds the high watermark.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isMillraceError } from '../base/errors.ts'
import { brokerKey, type ClusterPartition, partitionValue, readPartition } from './cluster-state.ts'
import type { IsrProposal, Leadership } from './leadership.ts'
import { type Check, type MetadataStore, OPERATIONS_MAX, type Write } from './metadata-store.ts'

const RETRY_MS = 100

/** Each is a write, a check, and one or two checks of brokers that come, most of which they have in common. */
const TOGETHER = Math.floor(OPERATIONS_MAX / 4)

export interface Proposed {
  readonly key: string
  /** The partition under the leader epoch of the proposal, in the version that it is based on. */
  readonly state: ClusterPartition
  readonly leadership: Leadership
  readonly proposal: IsrProposal
}

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

  /** Writes proposals of one moment: together as far as that goes, for a broker that comes back is let in by hundreds of partitions at once. */
  write(proposed: readonly Proposed[]): void {
    for (let from = 0; from < proposed.length; from += TOGETHER) {
      const work = this.#writeTogether(proposed.slice(from, from + TOGETHER)).finally(() => this.#underWay.delete(work))
      this.#underWay.add(work)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#underWay)
  }

  /** All in one commit; what that did not decide each by itself. */
  async #writeTogether(proposed: readonly Proposed[]): Promise<void> {
    if (proposed.length > 1) {
      const changes = proposed.map(one => this.#changeOf(one))
      // The same broker under two epochs is two checks, of which one fails.
      const all = changes.flatMap(change => change.checks)
      const checks = new Map(all.map(check => [`${check.key} ${check.version}`, check]))
      try {
        const outcome = await this.#store.commit(
          [...checks.values()],
          changes.map(({ write }) => write),
        )
        if (outcome.kind === 'done') {
          for (const one of proposed) this.#stored(one, outcome.version)
          return
        }
      } catch {
        // Each by itself is told, or tries again.
      }
    }
    await Promise.all(proposed.map(one => this.#writeOne(one)))
  }

  #changeOf({ key, state, leadership: { leaderEpoch }, proposal }: Proposed): { checks: Check[]; write: Write } {
    const { basedOn, brokerIds, comes } = proposal
    return {
      checks: [
        { key, version: basedOn },
        ...comes.map(({ brokerId, brokerEpoch }) => ({ key: brokerKey(brokerId), version: brokerEpoch })),
      ],
      write: { key, value: partitionValue({ ...state, leader: this.#brokerId, leaderEpoch, isr: brokerIds }) },
    }
  }

  #stored({ key, leadership, proposal: { brokerIds } }: Proposed, version: number): void {
    leadership.stored({ brokerIds, version })
    this.#decided(key)
  }

  async #writeOne(one: Proposed): Promise<void> {
    const { key, leadership, proposal } = one
    const { checks, write } = this.#changeOf(one)
    while (!this.#isClosed && leadership.proposal === proposal) {
      try {
        const outcome = await this.#store.commit(checks, [write])
        if (outcome.kind === 'done') return this.#stored(one, outcome.version)
        if (outcome.kind === 'refused') {
          const found = outcome.found.find(entry => entry.key === key)
          const now = found === undefined ? undefined : readPartition(found)
          // Another leader, or epoch: this leadership is over, and whoever made it will know.
          if (now?.leader !== this.#brokerId || now.leaderEpoch !== leadership.leaderEpoch) return
          leadership.refused(proposal, { brokerIds: now.isr, version: now.version })
          return this.#decided(key)
        }
      } catch (error) {
        // Whatever else it is may pass, and an undecided proposal holds the watermark.
        if (isMillraceError(error, 'CLOSED')) return
      }
      await sleep(RETRY_MS)
    }
  }
}
