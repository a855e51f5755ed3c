/** The topics of the crash tests: small segments, so that rolls happen all the time, and dense indexes. */
export interface TestTopic {
  readonly topic: string
  readonly partitions: number
  readonly config: Readonly<Record<string, string | number>>
}

export const INDEX_INTERVAL_BYTES = 1_024

const common = { 'segment.bytes': 131_072, 'index.interval.bytes': INDEX_INTERVAL_BYTES, 'retention.ms': -1 }

export const TOPICS: readonly TestTopic[] = [
  { topic: 'plain', partitions: 3, config: common },
  { topic: 'durable', partitions: 2, config: { ...common, 'flush.messages': 1 } },
  { topic: 'trimmed', partitions: 1, config: { ...common, 'flush.messages': 100 } },
]
