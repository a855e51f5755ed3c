/**
 * Types that keep numbers and strings of different meaning apart at compile time; they cost nothing when running.
 * Offsets, positions and times stay plain numbers: they are added to and compared everywhere, and their names tell them
 * apart (`…Offset`, `…Position`, `…Ms`). They are safe integers; see docs/decisions/0001-numbers.md.
 */
declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** A topic's UUID in its usual text form, fixed for the topic's life. */
export type TopicId = Brand<string, 'TopicId'>

/** Index of a partition's slot in the control block, 0 to PARTITIONS_MAX - 1; reused after a topic is deleted. */
export type PartitionSlot = Brand<number, 'PartitionSlot'>

/** Id of a registered schema: a positive 32-bit number, unique in the directory. */
export type SchemaId = Brand<number, 'SchemaId'>
