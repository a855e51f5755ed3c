/**
 * Share groups as they are stored, for a process that looks at a directory which another may own. What is locked, and who
 * consumes, is known only to the engine: here locked records count as available.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Observer } from '../../broker/observer.ts'
import { SLOT } from '../../memory/control-block.ts'
import { STORED_RECORD_STATE, type StoredShare } from '../../store/share-states.ts'
import { LiveRanges } from './live-ranges.ts'
import type { LiveRange, ShareGroupDescription, SharePartitionDescription, ShareSource } from './share-calls.ts'
import { runOfRow } from './stored-runs.ts'

interface ObservedShare {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly stored: StoredShare
  readonly highWatermark: number
}

export class ObservedShares implements ShareSource {
  readonly #observer: Observer

  constructor(observer: Observer) {
    this.#observer = observer
  }

  list(): string[] {
    this.#observer.demandOpen()
    return [...this.#observer.store.shares.groups().keys()].sort()
  }

  async describe(group: string): Promise<ShareGroupDescription> {
    const config = this.#observer.store.shares.group(group)
    if (config === undefined) throw unknownQueue(group)
    const byTopic = Map.groupBy(await this.#shares(group), ({ topicId }) => topicId)
    const topics = [...byTopic].map(([topicId, shares]) => ({
      topic: shares[0]?.topic as string,
      topicId,
      partitions: shares.map(describe),
    }))
    return { group, config, members: [], topics }
  }

  async live(group: string, count: number): Promise<LiveRange[]> {
    if (this.#observer.store.shares.group(group) === undefined) throw unknownQueue(group)
    const ranges = new LiveRanges(count)
    for (const { topic, partition, stored, highWatermark } of await this.#shares(group)) {
      const runs = [...stored.blocks].flatMap(([block, rows]) => rows.map(row => runOfRow(block, row)))
      ranges.add({ topic, partition }, runs, stored.facts.endOffset, highWatermark)
    }
    return ranges.ranges
  }

  async delete(): Promise<never> {
    throw new MillraceError('READ_ONLY', { directory: this.#observer.directory })
  }

  async #shares(group: string): Promise<ObservedShare[]> {
    const { store } = this.#observer
    const names = new Map(store.topics.list().map(({ topic, topicId }) => [topicId, topic]))
    const shares: ObservedShare[] = []
    for (const key of store.shares.partitions()) {
      const topic = names.get(key.topicId)
      const stored = key.group === group ? store.shares.get(key) : undefined
      if (topic === undefined || stored === undefined) continue
      const located = (await this.#observer.clientTopic(topic)).partitions[key.partition]
      const { endOffset } = stored.facts
      const known =
        located === undefined ? endOffset : this.#observer.memory.control.get(located.slot, SLOT.highWatermark)
      const highWatermark = Math.max(endOffset, known)
      shares.push({ topic, topicId: key.topicId, partition: key.partition, stored, highWatermark })
    }
    return shares
  }
}

function describe({ partition, stored: { facts, blocks }, highWatermark }: ObservedShare): SharePartitionDescription {
  const counts = { available: highWatermark - facts.endOffset, delayed: 0, acquired: 0, archiving: 0 }
  for (const [, records, state] of [...blocks.values()].flat()) {
    if (state === STORED_RECORD_STATE.delayed) counts.delayed += records
    else if (state === STORED_RECORD_STATE.archiving) counts.archiving += records
    else counts.available += records
  }
  return { partition, ...facts, ...counts }
}

const unknownQueue = (group: string): MillraceError => new MillraceError('UNKNOWN_QUEUE', { queue: group.slice(0, 64) })
