/**
 * Names of topics, of partition folders and of the files in them, as Kafka gives them. Pure functions; any thread.
 * `parse…` is the inverse of the function that formats, and `undefined` for every name that it would not have made.
 */
import { MillraceError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { SAFE_MAX, TOPIC_NAME_CHARACTERS_MAX } from '../base/limits.ts'

export type SegmentFileSuffix = 'log' | 'index' | 'timeindex' | 'snapshot'

const BASE_OFFSET_DIGITS = 20
const SEGMENT_FILE_NAME = /^(\d{20})\.([a-z][a-z.]*)$/
const PARTITION_DIRECTORY = /^(.+)-(0|[1-9]\d{0,9})$/
const TOPIC_NAME = /^[a-zA-Z0-9._-]+$/
const PARTITION_MAX = 0x7fff_ffff
/** A name from outside may be of any length; what goes into an error is short. */
const QUOTED_CHARACTERS_MAX = 64

/** `00000000000000000000.log`: 20 digits, so that names sort as their offsets do. */
export function segmentFileName(baseOffset: number, suffix: SegmentFileSuffix): string {
  invariant(Number.isSafeInteger(baseOffset) && baseOffset >= 0, 'a base offset is a safe integer from 0 on')
  return `${String(baseOffset).padStart(BASE_OFFSET_DIGITS, '0')}.${suffix}`
}

/** Base offset and suffix, which may also be one that only Kafka writes (`txnindex`, `log.deleted`). */
export function parseSegmentFileName(name: string): { baseOffset: number; suffix: string } | undefined {
  const match = SEGMENT_FILE_NAME.exec(name)
  if (match === null) return undefined
  const baseOffset = Number(match[1])
  return baseOffset <= SAFE_MAX ? { baseOffset, suffix: match[2] as string } : undefined
}

export function partitionDirectory(topic: string, partition: number): string {
  return `${topic}-${partition}`
}

/** Topic and partition of a folder name; `undefined` for what is not one, such as Kafka's `…-delete` folders. */
export function parsePartitionDirectory(name: string): { topic: string; partition: number } | undefined {
  const match = PARTITION_DIRECTORY.exec(name)
  if (match === null) return undefined
  const topic = match[1] as string
  const partition = Number(match[2])
  return topicNameFault(topic) === undefined && partition <= PARTITION_MAX ? { topic, partition } : undefined
}

/** @throws INVALID_TOPIC_NAME with the name, cut to 64 characters, and the reason */
export function checkTopicName(topic: string): void {
  const reason = topicNameFault(topic)
  if (reason === undefined) return
  throw new MillraceError('INVALID_TOPIC_NAME', { topic: String(topic).slice(0, QUOTED_CHARACTERS_MAX), reason })
}

function topicNameFault(topic: string): string | undefined {
  if (typeof topic !== 'string') return 'not a text'
  if (topic.length === 0) return 'empty'
  if (topic.length > TOPIC_NAME_CHARACTERS_MAX) return `longer than ${TOPIC_NAME_CHARACTERS_MAX} characters`
  if (topic === '.' || topic === '..') return 'reserved'
  return TOPIC_NAME.test(topic) ? undefined : 'characters other than a-z, A-Z, 0-9, dot, underscore and hyphen'
}
