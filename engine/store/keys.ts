/**
 * The keys of the store's databases: bytes that sort by the parts they are made of, so that everything of one topic or
 * one group is a range. All numbers are big-endian, all text is UTF-8.
 *
 *     topics         topic name
 *     checkpoints    topic id (16 bytes of the UUID) | partition u32
 *     offsets        group length u16 | group | topic id (16) | partition u32
 *     groups         group length u16 | group | member id, empty for the group itself
 *     share-groups   group length u16 | group
 *     share-partitions   group length u16 | group | topic id (16) | partition u32
 *     share-runs     group length u16 | group | topic id (16) | partition u32 | block u64
 *     schemas        schema id u32
 *     schema-texts   SHA-256 of the schema text and its references (32)
 *     subjects       subject length u16 | subject | version u32
 *     compatibility  subject length u16 | subject
 *     meta           name of the fact
 *
 * LMDB refuses keys above 1978 bytes and empty ones; both are refused here first, with the argument's name. The length
 * in front of a text keeps the range of group `a` apart from that of group `ab`.
 */

import { createHash } from 'node:crypto'
import type { SchemaId, TopicId } from '../base/brands.ts'
import { MillraceError } from '../base/errors.ts'
import { KEY_BYTES_MAX } from '../base/limits.ts'

const UUID_BYTES = 16
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

const NO_PREFIX = Buffer.alloc(0)

/** Bytes of `topic id | partition`. */
export const PARTITION_KEY_BYTES = UUID_BYTES + 4
const BLOCK_KEY_BYTES = 8

/** A half-open range of keys; an absent `end` means to the last key of the database. */
export interface KeyRange {
  readonly start: Buffer
  readonly end: Buffer | undefined
}

/** Every key of a database. */
export const ALL_KEYS: KeyRange = { start: Buffer.of(0), end: undefined }

/**
 * Text as UTF-8, 1 to `bytesMax` bytes.
 * @throws INVALID_ARGUMENT when it is empty, too long, or has a lone surrogate, which UTF-8 would fold into another text
 */
export function textKey(argument: string, text: string, bytesMax = KEY_BYTES_MAX): Buffer {
  const bytes = encode(argument, text, bytesMax)
  if (bytes.length === 0) throw new MillraceError('INVALID_ARGUMENT', { argument, reason: 'empty' })
  return bytes
}

// Commits come many in a row for one topic; reading its UUID anew each time was a fifth of their cost.
let lastTopicId: TopicId | undefined
let lastTopicIdBytes = Buffer.alloc(UUID_BYTES)

export function isTopicId(text: string): text is TopicId {
  return UUID.test(text)
}

export function topicIdBytes(topicId: TopicId): Buffer {
  if (topicId !== lastTopicId) {
    if (!isTopicId(topicId)) throw new MillraceError('INVALID_ARGUMENT', { argument: 'topicId', reason: 'not a UUID' })
    lastTopicIdBytes = Buffer.from(topicId.replaceAll('-', ''), 'hex')
    lastTopicId = topicId
  }
  return lastTopicIdBytes
}

/** `prefix | topic id | partition` */
export function partitionKey(topicId: TopicId, partition: number, prefix: Buffer = NO_PREFIX): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + PARTITION_KEY_BYTES)
  key.set(prefix)
  key.set(topicIdBytes(topicId), prefix.length)
  key.writeUInt32BE(partition, prefix.length + UUID_BYTES)
  return key
}

/** Where a partition's number stands in a key that ends in `topic id | partition`. */
export function partitionOfKey(key: Buffer): number {
  return key.readUInt32BE(key.length - 4)
}

/** The topic id of a key that ends in `topic id | partition`. */
export function topicIdOfKey(key: Buffer): TopicId {
  const hex = key.toString('hex', key.length - PARTITION_KEY_BYTES, key.length - 4)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as TopicId
}

/** Prefixes of groups that were asked for of late: groups commit again and again, and encoding was a third of the key's cost. */
const groupPrefixes = new Map<string, Buffer>()
const GROUP_PREFIXES_MAX = 4096

/** `group length | group`, the start of all keys of a group; not to be changed. Any text is a group, the empty one too. */
export function groupPrefix(group: string): Buffer {
  const known = groupPrefixes.get(group)
  if (known !== undefined) return known
  const prefix = prefixBefore(group, PARTITION_KEY_BYTES)
  if (groupPrefixes.size >= GROUP_PREFIXES_MAX) groupPrefixes.clear()
  groupPrefixes.set(group, prefix)
  return prefix
}

export function shareGroupPrefix(group: string): Buffer {
  return prefixBefore(group, PARTITION_KEY_BYTES + BLOCK_KEY_BYTES)
}

/** @param bytesBehind what follows in the longest of the group's keys */
function prefixBefore(group: string, bytesBehind: number): Buffer {
  return lengthPrefixed('group', group, KEY_BYTES_MAX - 2 - bytesBehind)
}

/** The group of a key that ends in `bytesBehind` other bytes. */
export function groupOfKey(key: Buffer, bytesBehind: number): string {
  return key.toString('utf8', 2, key.length - bytesBehind)
}

export function u64Key(prefix: Buffer, number: number): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + BLOCK_KEY_BYTES)
  prefix.copy(key)
  key.writeBigUInt64BE(BigInt(number), prefix.length)
  return key
}

/** The block of a key that ends in it. */
export function blockOfKey(key: Buffer): number {
  return Number(key.readBigUInt64BE(key.length - BLOCK_KEY_BYTES))
}

/** `subject length | subject`, the start of all keys of a subject. */
export function subjectPrefix(subject: string): Buffer {
  return lengthPrefixed('subject', subject, KEY_BYTES_MAX - 2 - 4)
}

/** `group length | group | member id`; without a member id it is the key of the group itself, the first of its keys. */
export function memberKey(prefix: Buffer, memberId: string): Buffer {
  return Buffer.concat([prefix, encode('memberId', memberId, KEY_BYTES_MAX - prefix.length)])
}

export function groupOfMemberKey(key: Buffer): string {
  return key.toString('utf8', 2, 2 + key.readUInt16BE())
}

export function memberOfKey(key: Buffer): string {
  return key.toString('utf8', 2 + key.readUInt16BE())
}

export function subjectOfKey(key: Buffer): string {
  return key.toString('utf8', 2, key.length - 4)
}

/** The version of a key that ends in it. */
export function versionOfKey(key: Buffer): number {
  return key.readUInt32BE(key.length - 4)
}

export function u32Key(prefix: Buffer, number: number): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + 4)
  prefix.copy(key)
  key.writeUInt32BE(number, prefix.length)
  return key
}

export function schemaIdKey(id: SchemaId): Buffer {
  return u32Key(NO_PREFIX, id)
}

/** Of a schema with references, also their JSON behind a zero byte, which no JSON text has. */
export function schemaTextKey(text: string, references: readonly object[] = []): Buffer {
  const hash = createHash('sha256').update(text, 'utf8')
  if (references.length > 0) hash.update(`\0${JSON.stringify(references)}`, 'utf8')
  return hash.digest()
}

/** The keys that begin with `prefix`. */
export function prefixRange(prefix: Buffer): KeyRange {
  return { start: prefix, end: successor(prefix) }
}

/** The first key after all that begin with `prefix`; undefined when there can be none. */
function successor(prefix: Buffer): Buffer | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const end = Buffer.from(prefix.subarray(0, length))
  end[length - 1] = (end[length - 1] as number) + 1
  return end
}

function lengthPrefixed(argument: string, text: string, bytesMax: number): Buffer {
  const bytes = encode(argument, text, bytesMax)
  const prefix = Buffer.allocUnsafe(2 + bytes.length)
  prefix.writeUInt16BE(bytes.length)
  bytes.copy(prefix, 2)
  return prefix
}

function encode(argument: string, text: string, bytesMax: number): Buffer {
  if (!text.isWellFormed()) throw new MillraceError('INVALID_ARGUMENT', { argument, reason: 'lone surrogate' })
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length > bytesMax) throw new MillraceError('INVALID_ARGUMENT', { argument, bytes: bytes.length, bytesMax })
  return bytes
}
