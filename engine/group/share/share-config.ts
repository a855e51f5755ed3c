/** Settings of a share group: their names, defaults and ranges, after Kafka's group configuration. */
import { MillraceError } from '../../base/errors.ts'
import { SHARE_DELAYED_RECORDS_MAX, SHARE_RECORD_LOCKS_MAX } from '../../base/limits.ts'
import { checkTopicName } from '../../format/file-names.ts'
import type { ShareGroupConfig } from '../../store/share-states.ts'
import type { ShareSettings } from './share-types.ts'

/** The prefix that KIP-1191 gives dead-letter topics. */
const DEAD_LETTER_PREFIX = 'dlq.'

export const SHARE_CONFIG = {
  lockDurationMs: { fallback: 30_000, min: 10, max: 86_400_000 },
  deliveryCountLimit: { fallback: 5, min: 1, max: 1_000_000 },
  recordLocksMax: { fallback: 2_000, min: 1, max: SHARE_RECORD_LOCKS_MAX },
  delayedRecordsMax: { fallback: 100_000, min: 1, max: SHARE_DELAYED_RECORDS_MAX },
} as const

export function defaultShareConfig(topic: string): ShareGroupConfig {
  const { lockDurationMs, deliveryCountLimit, recordLocksMax, delayedRecordsMax } = SHARE_CONFIG
  return {
    lockDurationMs: lockDurationMs.fallback,
    deliveryCountLimit: deliveryCountLimit.fallback,
    recordLocksMax: recordLocksMax.fallback,
    delayedRecordsMax: delayedRecordsMax.fallback,
    deadLetterTopic: DEAD_LETTER_PREFIX + topic,
  }
}

/** @throws INVALID_ARGUMENT, INVALID_TOPIC_NAME */
export function checkShareConfig(topic: string, config: ShareGroupConfig): ShareGroupConfig {
  for (const [argument, { min, max }] of Object.entries(SHARE_CONFIG)) {
    const value = config[argument as keyof typeof SHARE_CONFIG]
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new MillraceError('INVALID_ARGUMENT', { argument, value: String(value), min, max })
    }
  }
  const { deadLetterTopic } = config
  if (deadLetterTopic !== null) checkTopicName(deadLetterTopic)
  if (deadLetterTopic === topic) {
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'deadLetterTopic',
      value: topic,
      reason: 'the queue itself',
    })
  }
  return config
}

export function settingsOf({ deadLetterTopic, ...settings }: ShareGroupConfig): ShareSettings {
  return { ...settings, hasDeadLetters: deadLetterTopic !== null }
}
