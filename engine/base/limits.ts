/** Every bound of the engine with its reason. Nothing grows past a number that is not in this file. */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** Kafka's file positions are signed 32-bit numbers. */
export const SEGMENT_BYTES_MAX = 0x7fff_ffff

/** Smallest segment: below this a roll would cost more than the records in it. */
export const SEGMENT_BYTES_MIN = 16 * KIB

/** A topic name plus `-` and a partition number has to fit a file name of 255 bytes; Kafka's limit as well. */
export const TOPIC_NAME_CHARACTERS_MAX = 249

/** Slots of the control block: 10,000 partitions of a topic and room beside them. */
export const PARTITIONS_MAX = 16_384

/** Partitions of one topic. */
export const TOPIC_PARTITIONS_MAX = 10_000

/** Entries of the segment table, over all partitions. 64 bytes each in the control file. */
export const SEGMENTS_MAX = 65_536

/**
 * Descriptors of active segments that the writers keep open together, and at most this share of what the process may open:
 * enough that the busy partitions have theirs, and the service keeps the others.
 */
export const OPEN_SEGMENTS_MAX = 4_096
export const OPEN_SEGMENTS_SHARE = 1 / 4

/** Producers attached at once, over all threads. Every writer polls a ring of each. */
export const PRODUCERS_MAX = 256

/** Idempotent producers that a partition remembers, some 500 bytes each. Of more, a tenth is forgotten, those idle longest. */
export const PRODUCER_STATES_MAX = 10_000

/** Writer threads; more than this never helped on any machine that Node is run on. */
export const WRITERS_MAX = 64

/** Uncompressed bytes of one batch that a reader accepts; guards against decompression bombs. */
export const DECOMPRESSED_BYTES_MAX = 256 * MIB

/** Records of one batch: the record count field is signed 32-bit, and every record takes at least 7 bytes. */
export const BATCH_RECORDS_MAX = 0x7fff_ffff

/** Headers of one record: more is taken for damage. */
export const RECORD_HEADERS_MAX = 65_536

/** Offsets and timestamps are JavaScript numbers. */
export const SAFE_MAX = Number.MAX_SAFE_INTEGER

/** Longest schema text, the schemas that it refers to included; a schema is parsed on the broker's thread. */
export const SCHEMA_TEXT_BYTES_MAX = MIB

/** Types inside one another in a schema: parsing and resolving go down by recursion. */
export const SCHEMA_DEPTH_MAX = 200

/** Pairs of types inside one another when one schema is resolved into another: two circles of types meet in many pairs. */
export const RESOLUTION_DEPTH_MAX = 1000

/** References of one schema. */
export const SCHEMA_REFERENCES_MAX = 100

/** Schemas that refer to one another in a row. */
export const SCHEMA_REFERENCE_DEPTH_MAX = 16

/** Problems that a compatibility check tells; a reader corrects the first few. */
export const SCHEMA_PROBLEMS_MAX = 20

/** Kafka's default for `offset.metadata.max.bytes`. */
export const OFFSET_METADATA_BYTES_MAX = 4096

/** Writes that wait for the disk; a caller that does not await its commits is refused beyond this. */
export const PENDING_WRITES_MAX = 262_144

/** Revisions of the shared metadata whose changes are kept for those who watch; who is further behind lists anew. */
export const CHANGES_KEPT = 10_000

/** Revisions that are looked up at once. */
export const REVISION_CHANGES_MAX = 256

/** Longest key that LMDB takes with pages of 4096 bytes. */
export const KEY_BYTES_MAX = 1978

/** Records inside one another; recursive schemas would let a small value exhaust the stack. */
export const AVRO_DEPTH_MAX = 512

/** Items of a value's arrays that take no bytes (null, empty records), which no length bounds. */
export const AVRO_EMPTY_ITEMS_MAX = 65_536

/** Characters of a subscription pattern. It is compiled on the broker's thread, and RE2 expands counted repetitions. */
export const TOPIC_PATTERN_CHARACTERS_MAX = 1024

/** Member ids of a group that were given out and did not join yet; they cost a client one small request each. */
export const PENDING_MEMBERS_MAX = 10_000

/** Bytes of a group id in UTF-8: group and member id together are a key of LMDB. */
export const GROUP_ID_BYTES_MAX = 1024

/** Bytes of a member id in UTF-8, for the same reason. */
export const MEMBER_ID_BYTES_MAX = 900

/** Locks of a share partition; each record may need a run of its own, and one that expires is looked for among them. */
export const SHARE_RECORD_LOCKS_MAX = 100_000

/** Delayed records of a share partition: some 100 bytes each, and walked when one of them is due. */
export const SHARE_DELAYED_RECORDS_MAX = 1_000_000
