/** What the coordinator may be told, with Kafka's defaults; the key in each comment is Kafka's name for it. */

import { MillraceError } from '../base/errors.ts'
import { SERVER_ASSIGNORS } from './assignors/index.ts'

/** Which groups may change from one protocol to the other while they have members. */
export type MigrationPolicy = 'disabled' | 'upgrade' | 'downgrade' | 'bidirectional'

export interface GroupConfig {
  /** `group.initial.rebalance.delay.ms`: how long an empty group waits for further members. */
  readonly initialRebalanceDelayMs: number
  /** `group.min.session.timeout.ms` */
  readonly sessionTimeoutMinMs: number
  /** `group.max.session.timeout.ms` */
  readonly sessionTimeoutMaxMs: number
  /** `group.max.size`: members of a classic group. */
  readonly sizeMax: number
  /** `group.consumer.session.timeout.ms` */
  readonly consumerSessionTimeoutMs: number
  /** `group.consumer.heartbeat.interval.ms`: told to members. */
  readonly consumerHeartbeatIntervalMs: number
  /** `group.consumer.max.size`: members of a group of the new protocol. */
  readonly consumerSizeMax: number
  /** `group.consumer.assignors`, by name; the first is used when no member asks for another. */
  readonly consumerAssignors: readonly string[]
  /** `group.consumer.migration.policy` */
  readonly migrationPolicy: MigrationPolicy
  /** `offsets.retention.minutes`: how long offsets of a group are kept that has no members. */
  readonly offsetsRetentionMinutes: number
  /** `offsets.retention.check.interval.ms` */
  readonly offsetsRetentionCheckMs: number
  /** Not in Kafka: how many groups there may be, and how many queues. */
  readonly groupsMax: number
}

export const GROUP_DEFAULTS: GroupConfig = {
  initialRebalanceDelayMs: 3_000,
  sessionTimeoutMinMs: 6_000,
  sessionTimeoutMaxMs: 1_800_000,
  sizeMax: 0x7fff_ffff,
  consumerSessionTimeoutMs: 45_000,
  consumerHeartbeatIntervalMs: 5_000,
  consumerSizeMax: 0x7fff_ffff,
  consumerAssignors: ['uniform', 'range'],
  migrationPolicy: 'bidirectional',
  offsetsRetentionMinutes: 10_080,
  offsetsRetentionCheckMs: 600_000,
  groupsMax: 100_000,
}

const INT_MAX = 0x7fff_ffff
const POLICIES: readonly MigrationPolicy[] = ['disabled', 'upgrade', 'downgrade', 'bidirectional']

/** Lowest and highest value of what is a number. */
const RANGES = {
  initialRebalanceDelayMs: [0, INT_MAX],
  sessionTimeoutMinMs: [1, INT_MAX],
  sessionTimeoutMaxMs: [1, INT_MAX],
  sizeMax: [1, INT_MAX],
  consumerSessionTimeoutMs: [1, INT_MAX],
  consumerHeartbeatIntervalMs: [1, INT_MAX],
  consumerSizeMax: [1, INT_MAX],
  offsetsRetentionMinutes: [1, INT_MAX],
  offsetsRetentionCheckMs: [1, INT_MAX],
  groupsMax: [1, INT_MAX],
} as const

/** What was given, with the defaults for the rest. @throws INVALID_ARGUMENT */
export function resolveGroupConfig(given: Partial<GroupConfig>): GroupConfig {
  const config = { ...GROUP_DEFAULTS, ...given }
  for (const [argument, [min, max]] of Object.entries(RANGES)) {
    const value = config[argument as keyof typeof RANGES]
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new MillraceError('INVALID_ARGUMENT', { argument, value, min, max })
    }
  }
  if (config.sessionTimeoutMinMs > config.sessionTimeoutMaxMs) {
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'sessionTimeoutMinMs', max: config.sessionTimeoutMaxMs })
  }
  if (!POLICIES.includes(config.migrationPolicy)) {
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'migrationPolicy', known: POLICIES.join(' ') })
  }
  const known = SERVER_ASSIGNORS.map(({ name }) => name)
  const assignors = config.consumerAssignors
  if (assignors.length === 0 || !assignors.every(name => known.includes(name))) {
    throw new MillraceError('INVALID_ARGUMENT', { argument: 'consumerAssignors', known: known.join(' ') })
  }
  return config
}

export function allowsUpgrade({ migrationPolicy }: GroupConfig): boolean {
  return migrationPolicy === 'upgrade' || migrationPolicy === 'bidirectional'
}

export function allowsDowngrade({ migrationPolicy }: GroupConfig): boolean {
  return migrationPolicy === 'downgrade' || migrationPolicy === 'bidirectional'
}
