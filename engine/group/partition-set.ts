/**
 * A set of partitions by topic id, each with a number beside it: for what a member owns, the member epoch at which it got
 * the partition; for sets that need none, 0. Order is that of insertion, so equal histories give equal bytes. Plain data,
 * no thread of its own; whoever holds a set may change it, so sets are copied where two owners would share one.
 */
import type { TopicId } from '../base/brands.ts'

/** Partitions of one topic, as requests and answers carry them. */
export interface TopicPartitions {
  readonly topicId: TopicId
  readonly partitions: readonly number[]
}

export class PartitionSet {
  readonly #topics = new Map<TopicId, Map<number, number>>()
  #size = 0

  static of(topics: readonly TopicPartitions[]): PartitionSet {
    const set = new PartitionSet()
    for (const { topicId, partitions } of topics) for (const partition of partitions) set.add(topicId, partition)
    return set
  }

  get size(): number {
    return this.#size
  }

  add(topicId: TopicId, partition: number, epoch = 0): void {
    let partitions = this.#topics.get(topicId)
    if (partitions === undefined) {
      partitions = new Map()
      this.#topics.set(topicId, partitions)
    }
    if (!partitions.has(partition)) this.#size++
    partitions.set(partition, epoch)
  }

  has(topicId: TopicId, partition: number): boolean {
    return this.#topics.get(topicId)?.has(partition) ?? false
  }

  /** The number beside a partition; undefined for one that is not in the set. */
  epochOf(topicId: TopicId, partition: number): number | undefined {
    return this.#topics.get(topicId)?.get(partition)
  }

  /** Each topic with its partitions and their numbers. */
  topics(): Iterable<readonly [TopicId, ReadonlyMap<number, number>]> {
    return this.#topics
  }

  forEach(visit: (topicId: TopicId, partition: number, epoch: number) => void): void {
    for (const [topicId, partitions] of this.#topics) {
      for (const [partition, epoch] of partitions) visit(topicId, partition, epoch)
    }
  }

  /** Those for which `keep` holds, with their epochs. */
  filter(keep: (topicId: TopicId, partition: number) => boolean): PartitionSet {
    const kept = new PartitionSet()
    this.forEach((topicId, partition, epoch) => {
      if (keep(topicId, partition)) kept.add(topicId, partition, epoch)
    })
    return kept
  }

  intersects(other: PartitionSet): boolean {
    for (const [topicId, partitions] of this.#topics) {
      for (const partition of partitions.keys()) if (other.has(topicId, partition)) return true
    }
    return false
  }

  isSubsetOf(other: PartitionSet): boolean {
    if (this.#size > other.size) return false
    for (const [topicId, partitions] of this.#topics) {
      for (const partition of partitions.keys()) if (!other.has(topicId, partition)) return false
    }
    return true
  }

  /** The same partitions, whatever their epochs and order. */
  equals(other: PartitionSet): boolean {
    return this === other || (this.#size === other.size && this.isSubsetOf(other))
  }

  /** By topic in order of insertion, partitions ascending. */
  toTopics(): TopicPartitions[] {
    return [...this.#topics].map(([topicId, partitions]) => ({
      topicId,
      partitions: [...partitions.keys()].sort((a, b) => a - b),
    }))
  }
}
