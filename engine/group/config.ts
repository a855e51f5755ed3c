/** What the coordinator may be told, with Kafka's defaults; the key in each comment is Kafka's name for it. */

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
}

export function allowsUpgrade({ migrationPolicy }: GroupConfig): boolean {
  return migrationPolicy === 'upgrade' || migrationPolicy === 'bidirectional'
}

export function allowsDowngrade({ migrationPolicy }: GroupConfig): boolean {
  return migrationPolicy === 'downgrade' || migrationPolicy === 'bidirectional'
}
