/** Options of a consumer, with their defaults and their ranges. */
import { MillraceError } from '../engine/base/errors.ts'
import { MIB } from '../engine/base/limits.ts'
import { whole } from '../engine/broker/options.ts'
import type { ConsumerOptions, OffsetReset, Subscription } from './consumer-types.ts'
import type { MemberSubscription } from './group-membership.ts'
import { checkIsolation } from './reader-options.ts'

const RESETS: readonly OffsetReset[] = ['earliest', 'latest', 'none']
const MS_MAX = 0x7fff_ffff

export interface ResolvedConsumerOptions
  extends Required<Omit<ConsumerOptions, 'groupId' | 'instanceId' | 'assignor'>> {
  readonly groupId: string | null
  readonly instanceId: string | null
  readonly assignor: string | null
}

/** @throws INVALID_ARGUMENT, INVALID_GROUP_ID */
export function resolveConsumerOptions(options: ConsumerOptions): ResolvedConsumerOptions {
  const { groupId, autoOffsetReset = 'latest', isolation = 'read_uncommitted' } = options
  checkIsolation(isolation)
  if (groupId === '' || (groupId !== undefined && typeof groupId !== 'string'))
    throw new MillraceError('INVALID_GROUP_ID', { groupId: String(groupId) })
  if (!RESETS.includes(autoOffsetReset))
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'autoOffsetReset',
      value: String(autoOffsetReset),
      accepted: RESETS.join(' '),
    })
  return {
    groupId: groupId ?? null,
    instanceId: options.instanceId ?? null,
    clientId: options.clientId ?? 'millrace',
    assignor: options.assignor ?? null,
    autoOffsetReset,
    autoCommit: options.autoCommit ?? true,
    autoCommitIntervalMs: whole('autoCommitIntervalMs', options.autoCommitIntervalMs ?? 5_000, 1, MS_MAX),
    maxPollIntervalMs: whole('maxPollIntervalMs', options.maxPollIntervalMs ?? 300_000, 1, MS_MAX),
    maxBytes: whole('maxBytes', options.maxBytes ?? MIB, 1, MS_MAX),
    isolation,
    checkCrc: options.checkCrc ?? true,
  }
}

/** @throws INVALID_ARGUMENT */
export function resolveSubscription(subscription: Subscription): MemberSubscription {
  if (typeof subscription === 'string') return { topicNames: [subscription], pattern: '' }
  if (Array.isArray(subscription) && subscription.every(topic => typeof topic === 'string'))
    return { topicNames: subscription, pattern: '' }
  const { pattern } = Object(subscription) as { pattern?: unknown }
  if (typeof pattern === 'string' && pattern !== '') return { topicNames: [], pattern }
  throw new MillraceError('INVALID_ARGUMENT', {
    argument: 'topics',
    accepted: 'a name, an array of names, or { pattern } with a regular expression as text',
  })
}
