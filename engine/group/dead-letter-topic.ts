/** The topic that dead letters go to. In the broker's thread. */
import { isMillraceError } from '../base/errors.ts'
import { KIB, SEGMENT_BYTES_MAX } from '../base/limits.ts'
import type { Broker } from '../broker/broker.ts'

/** Room for the headers of a dead letter above what its own topic takes. */
const HEADERS_BYTES = 64 * KIB

/**
 * Creates the topic when it is not there. Dead letters wait for people, so they are not removed by age unless somebody
 * configures that.
 * @param topics whose records it is to take
 * @throws as `Broker.createTopic`
 */
export async function demandDeadLetterTopic(broker: Broker, topic: string, topics: readonly string[]): Promise<void> {
  if (broker.topicNames().includes(topic)) return
  const sizes = topics.map(each => Number(broker.topicConfig(each)['max.message.bytes']))
  const maxBytes = Math.min(SEGMENT_BYTES_MAX, Math.max(...sizes) + HEADERS_BYTES)
  try {
    await broker.createTopic(topic, 1, { 'retention.ms': -1, 'max.message.bytes': maxBytes })
  } catch (error) {
    if (!isMillraceError(error, 'TOPIC_ALREADY_EXISTS')) throw error
  }
}
