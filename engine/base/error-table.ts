/**
 * The one table of conditions that Millrace reports. A broken rule of our own is a bug and goes through `invariant`;
 * what the world does to us (bad bytes, a full disk, an unknown topic) is a `MillraceError` with a code from here.
 * `docs/ERRORS.md` and this table are held identical by a test. Errors cross threads as `ErrorData`, because an
 * `Error` loses its class in a structured clone.
 */

export interface ErrorSpec {
  /** What happened, in one sentence. */
  readonly summary: string
  /** What the reader of the error should do. */
  readonly advice: string
  /** True where the same call may succeed later without a change. */
  readonly retriable: boolean
  /** Kafka's error code for the same condition, for the protocol server; -1 is UNKNOWN_SERVER_ERROR. */
  readonly kafkaCode: number
}

const spec = (summary: string, advice: string, retriable: boolean, kafkaCode: number): ErrorSpec => ({
  summary,
  advice,
  retriable,
  kafkaCode,
})

export const ERRORS = {
  // Arguments
  INVALID_ARGUMENT: spec('An argument is not acceptable.', 'Correct the argument that the details name.', false, 42),
  INVALID_TOPIC_NAME: spec(
    'The topic name is not legal.',
    'Use 1 to 249 characters of a-z, A-Z, 0-9, dot, underscore and hyphen, other than "." and "..".',
    false,
    17,
  ),
  INVALID_CONFIG: spec(
    'A configuration value is not acceptable.',
    'Correct the key that the details name; docs/API.md lists keys, types and ranges.',
    false,
    40,
  ),
  INVALID_PARTITIONS: spec(
    'The number of partitions is not acceptable.',
    'Ask for 1 to 10,000 partitions; a topic can only grow.',
    false,
    37,
  ),
  TOPIC_ALREADY_EXISTS: spec('A topic of this name exists.', 'Choose another name, or use the topic.', false, 36),
  UNKNOWN_TOPIC_OR_PARTITION: spec(
    'There is no such topic or partition.',
    'Create it with admin.createTopic or admin.createPartitions, or correct the name.',
    false,
    3,
  ),
  OFFSET_OUT_OF_RANGE: spec(
    'The offset lies outside the log.',
    'Ask for an offset between the log start offset and the high watermark that the details give.',
    false,
    1,
  ),
  RECORD_TOO_LARGE: spec(
    'The record is larger than the topic accepts.',
    'Send less, or raise max.message.bytes of the topic and bufferBytes of the producer.',
    false,
    10,
  ),
  INVALID_RECORD: spec(
    'The topic does not take such a record.',
    'Give every record of a compacted topic a key, and every batch of an idempotent producer an epoch and a sequence.',
    false,
    87,
  ),
  INVALID_RECORD_STATE: spec(
    'The record is not held by who acknowledged it.',
    'Its lock ended, or it was acknowledged before; it may be delivered again. Renew locks of jobs that take longer.',
    false,
    121,
  ),
  QUEUE_IS_COMPACTED: spec(
    'A compacted topic cannot be a queue.',
    'Give the queue a topic of its own with cleanup.policy=delete.',
    false,
    17,
  ),
  UNKNOWN_QUEUE: spec(
    'There is no such queue.',
    'Correct the name, or use the queue once: that creates it.',
    false,
    69,
  ),
  UNSUPPORTED_COMPRESSION: spec(
    'The compression codec is not known.',
    'Use none, gzip, snappy, lz4 or zstd.',
    false,
    76,
  ),
  DECOMPRESSED_TOO_LARGE: spec(
    'A compressed batch grows beyond the limit.',
    'Raise the limit of the reader if the data is trusted.',
    false,
    10,
  ),
  // Avro
  INVALID_SCHEMA: spec('The text is not an Avro schema.', 'Correct the schema as the cause says.', false, 42),
  SCHEMA_MISMATCH: spec('The value does not fit its schema.', 'Correct the field that the details name.', false, 87),
  UNKNOWN_SCHEMA: spec('No schema has this id, subject or version.', 'Register the schema first.', false, 87),
  INCOMPATIBLE_SCHEMA: spec(
    'The schema is not compatible with an earlier version of its subject.',
    'Change the schema as the reasons say, or set another compatibility for the subject.',
    false,
    42,
  ),
  SCHEMA_IN_USE: spec(
    'Another schema refers to this version.',
    'Delete the schema that the details name first.',
    false,
    42,
  ),
  NOT_AVRO_ENCODED: spec(
    'The bytes do not start as an Avro value with a schema id does.',
    'Read the record as raw bytes, or decode it with what wrote it.',
    false,
    87,
  ),
  // Damage
  CORRUPT_BATCH: spec(
    'A record batch is damaged.',
    'The details give file and position. Restore the segment from a replica or a backup; what follows it is intact.',
    false,
    2,
  ),
  CORRUPT_RECORD: spec(
    'A record inside a batch is damaged.',
    'The details give file and position. Restore the segment from a replica or a backup.',
    false,
    2,
  ),
  CORRUPT_INDEX: spec(
    'An index file is damaged.',
    'Reopen the directory: the index is rebuilt from the log. Restore a .txnindex file, which only Apache Kafka writes.',
    true,
    56,
  ),
  CORRUPT_STORE: spec('The metadata store is damaged.', 'Restore the directory from a backup.', false, 56),
  // Directory
  DIRECTORY_LOCKED: spec(
    'Another process has this directory open for writing.',
    'Stop that process, or open with { readOnly: true }.',
    true,
    56,
  ),
  DIRECTORY_NOT_FOUND: spec(
    'The directory is not there or is not a Millrace directory.',
    'Correct the path; opening without readOnly creates it.',
    false,
    57,
  ),
  NEWER_FORMAT: spec(
    'The directory was written by a newer Millrace.',
    'Upgrade Millrace; the directory was left untouched.',
    false,
    35,
  ),
  READ_ONLY: spec('The engine was opened read-only.', 'Open the directory without readOnly to change it.', false, 29),
  // Disk
  DISK_FULL: spec(
    'There is no room on the disk.',
    'Free space or shorten retention; appends go on by themselves once there is room.',
    true,
    56,
  ),
  NOT_LEADER_OR_FOLLOWER: spec(
    'This broker does not lead the partition, or cannot be sure that it still does.',
    'Ask for the metadata again and go to the leader that it names; a record that was sent may have been written.',
    true,
    6,
  ),
  NOT_ENOUGH_REPLICAS: spec(
    'Fewer replicas are in sync than min.insync.replicas asks for; nothing was written.',
    'Try again once brokers are back, or lower min.insync.replicas.',
    true,
    19,
  ),
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: spec(
    'The record was written to fewer replicas than min.insync.replicas asks for.',
    'Send it again: an idempotent producer writes it once.',
    true,
    20,
  ),
  INVALID_REPLICATION_FACTOR: spec(
    'There are fewer live brokers than replicas asked for.',
    'Ask for fewer replicas, or start more brokers: none holds two replicas of a partition.',
    true,
    38,
  ),
  UNCLEAN_ELECTION: spec(
    'A replica leads that was not in sync: acknowledged records may be gone.',
    'Compare with what producers have sent. Topics without unclean.leader.election.enable wait for a replica in sync instead.',
    false,
    -1,
  ),
  DUPLICATE_BROKER: spec(
    'Another process is registered under this broker id and still holds its lease.',
    'Stop it, or start this broker with another id.',
    true,
    101,
  ),
  METADATA_STORE_UNAVAILABLE: spec(
    'The metadata store of the cluster did not answer in time; nothing was changed.',
    'Try again. If it stays, see whether etcd runs and can be reached, or whether the process that the details name is stopped.',
    true,
    7,
  ),
  LEASE_LOST: spec(
    'The lease is over; nothing was written.',
    'Take a new lease. What rested on the old one is gone.',
    false,
    -1,
  ),
  IO_ERROR: spec('The operating system failed a file operation.', 'See the cause for its error code.', false, 56),
  FLUSH_FAILED: spec(
    'A flush failed, so nothing above the flushed offset is trusted.',
    'Check the disk. The partition is rewritten up to what is trusted and then accepts appends again.',
    true,
    56,
  ),
  // Running
  BACK_PRESSURE: spec(
    'More is waiting to be stored than is allowed.',
    'Wait for the promises of what was handed in before, then try again.',
    true,
    7,
  ),
  TIMED_OUT: spec(
    'The operation did not finish in time.',
    'Try again; an append that timed out may have been written.',
    true,
    7,
  ),
  WRITER_CRASHED: spec(
    'The writer thread of the partition died.',
    'Send again: the thread is restarted; the append may have been written.',
    true,
    7,
  ),
  LEADER_NOT_AVAILABLE: spec(
    'The partition has no leader just now: its log is being cut, or another broker is to lead it.',
    'Send again: the partition is back in a moment.',
    true,
    5,
  ),
  OUT_OF_ORDER_SEQUENCE_NUMBER: spec(
    'The batch does not continue what its idempotent producer sent before.',
    'Send what is missing first; if it is lost, go on under a higher producer epoch, from sequence 0.',
    false,
    45,
  ),
  INVALID_PRODUCER_EPOCH: spec(
    'The idempotent producer goes on under a higher epoch elsewhere.',
    'Stop this producer, or take a new producer id.',
    false,
    47,
  ),
  PARTITION_FAILED: spec(
    'The partition stopped after an internal error.',
    'Reopen the engine to recover the partition, and report the cause.',
    false,
    56,
  ),
  CLOSED: spec('The object was closed.', 'Open a new one.', false, -1),
  TOO_MANY_PRODUCERS: spec(
    'The engine serves no further producer.',
    'Close producers that are not used, or share one.',
    true,
    7,
  ),
  // Transports
  CONNECTION_FAILED: spec(
    'The cluster was not reached.',
    'Check the address, and that its brokers run; what was under way may have been carried out or not.',
    true,
    -1,
  ),
  UNSUPPORTED_OPERATION: spec(
    'The transport cannot do this.',
    'Do it in the process that has the data directory open, as docs/API.md says.',
    false,
    35,
  ),
  TOO_MANY_SEGMENTS: spec('The segment table is full.', 'Raise segment.bytes or shorten retention.', true, 56),
  // Groups
  TOO_MANY_GROUPS: spec(
    'There are as many groups or queues as the engine may have.',
    'Delete those that are not used, or raise groupsMax.',
    false,
    81,
  ),
  INVALID_GROUP_ID: spec('The group id is not acceptable.', 'Use 1 to 1,024 bytes of well-formed text.', false, 24),
  GROUP_ID_NOT_FOUND: spec(
    'There is no such group, or it is one of another kind.',
    'Correct the group id, or create the group by joining it; see group.consumer.migration.policy for groups of the other protocol. The name of a queue is not free for a group, nor the other way round.',
    false,
    69,
  ),
  UNKNOWN_MEMBER_ID: spec(
    'The group has no such member.',
    'Join again without a member id. A member that sends no heartbeat within its session timeout is removed.',
    false,
    25,
  ),
  MEMBER_ID_REQUIRED: spec(
    'A member id was given out, and the member is not in the group yet.',
    'Join again with the member id of the answer.',
    true,
    79,
  ),
  ILLEGAL_GENERATION: spec(
    'The generation is not the current one of the group.',
    'Join again; what was assigned in that generation may belong to another member now.',
    false,
    22,
  ),
  REBALANCE_IN_PROGRESS: spec(
    'The group is dividing its partitions anew.',
    'Commit what was handled, give up what has to be given up, and join again.',
    true,
    27,
  ),
  INCONSISTENT_GROUP_PROTOCOL: spec(
    'The member has no assignment protocol in common with the group.',
    'Give all members of the group the same protocol type and one assignor that all of them know.',
    false,
    23,
  ),
  INVALID_SESSION_TIMEOUT: spec(
    'The session timeout is outside the range that is allowed.',
    'Choose a value between group.min.session.timeout.ms and group.max.session.timeout.ms, which the details give.',
    false,
    26,
  ),
  GROUP_MAX_SIZE_REACHED: spec(
    'The group takes no further member.',
    'Use fewer members, or raise group.max.size or group.consumer.max.size.',
    false,
    81,
  ),
  FENCED_INSTANCE_ID: spec(
    'Another member joined with the same group.instance.id.',
    'Stop this member, and give every static member an instance id of its own.',
    false,
    82,
  ),
  UNRELEASED_INSTANCE_ID: spec(
    'The group.instance.id still belongs to a member that is in the group.',
    'Close that member, or wait for its session timeout, then join again.',
    true,
    111,
  ),
  FENCED_MEMBER_EPOCH: spec(
    'The member epoch is not the one that the group knows.',
    'Give up all partitions and join again with epoch 0.',
    false,
    110,
  ),
  STALE_MEMBER_EPOCH: spec(
    'The member epoch is older than that of the member.',
    'Send a heartbeat and try again with the epoch of its answer, for partitions that are still assigned.',
    true,
    113,
  ),
  UNSUPPORTED_ASSIGNOR: spec(
    'There is no such assignor on this side.',
    'Use one of group.consumer.assignors, which the details give.',
    false,
    112,
  ),
  INVALID_REGULAR_EXPRESSION: spec(
    'The subscription pattern is not a regular expression of RE2.',
    'Correct it as the cause says; RE2 has neither back references nor look-around.',
    false,
    128,
  ),
  NON_EMPTY_GROUP: spec('The group has members.', 'Close the members of the group first.', false, 68),
  GROUP_SUBSCRIBED_TO_TOPIC: spec(
    'The group is subscribed to the topic.',
    'Unsubscribe its members from the topic first.',
    false,
    86,
  ),
  NO_OFFSET_FOR_PARTITION: spec(
    'The group has committed no offset for the partition, and autoOffsetReset is none.',
    'Seek to where the group is to begin, commit an offset with admin.resetOffsets, or set autoOffsetReset to earliest or latest.',
    false,
    -1,
  ),
  NOT_COORDINATOR: spec(
    'Another broker coordinates the group.',
    'Ask for the coordinator again, and go there.',
    true,
    16,
  ),
  COORDINATOR_LOAD_IN_PROGRESS: spec(
    'The coordinator has taken the group over and still reads what it had.',
    'Try again soon.',
    true,
    14,
  ),
  COORDINATOR_NOT_AVAILABLE: spec(
    'The group was loaded anew while the request waited.',
    'Send the request again.',
    true,
    15,
  ),
  UNSUPPORTED_PLATFORM: spec(
    'This operating system lacks the calls that Millrace needs.',
    'Use Linux or macOS on x64 or arm64 with glibc or musl.',
    false,
    35,
  ),
  // The Kafka protocol
  INVALID_REQUEST: spec(
    'The bytes are not a request of the Kafka protocol.',
    'Connect a Kafka client to this port, with TLS where the listener has it.',
    false,
    42,
  ),
  UNSUPPORTED_VERSION: spec(
    'The version of the request does not know this.',
    'Use a client that speaks a newer version of the API, or leave the field out.',
    false,
    35,
  ),
  UNSUPPORTED_FORMAT: spec(
    'The batch has a format that is not served.',
    'Write record batches of magic 2 with offsets and timestamps below 2^53. Let Kafka end its transactions first.',
    false,
    43,
  ),
} as const satisfies Record<string, ErrorSpec>
