/**
 * The public part of the format layer (`millrace/format`): batches, records, compression, index entries and file names,
 * for tools that read or write a data directory by themselves. The formats are described in docs/FORMAT.md.
 */

export { type Codec, compress, decompress } from './compression.ts'
export { crc32c } from './crc32c.ts'
export {
  checkTopicName,
  parsePartitionDirectory,
  parseSegmentFileName,
  partitionDirectory,
  type SegmentFileSuffix,
  segmentFileName,
} from './file-names.ts'
export { type EpochEntry, formatEpochCheckpoint, parseEpochCheckpoint } from './leader-epoch-checkpoint.ts'
export {
  floorOffsetEntry,
  OFFSET_ENTRY,
  offsetEntryPosition,
  offsetEntryRelativeOffset,
  readOffsetEntry,
  writeOffsetEntry,
} from './offset-index.ts'
export { RecordCursor, type RecordHeader } from './record.ts'
export {
  ATTRIBUTE,
  attributesOf,
  BATCH,
  BATCH_MAGIC,
  BatchEncoder,
  type BatchFault,
  type BatchOptions,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytes,
  checkBatch,
  codecOf,
  EncodedBatch,
  encodeBatch,
  hasDeleteHorizon,
  isControlBatch,
  isLogAppendTime,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  type RecordInput,
  recordBytesMax,
  recordCountOf,
  stampBatch,
  stampLogAppendTime,
} from './record-batch.ts'
export { Region, readI64, writeI64 } from './region.ts'
export {
  floorTimeEntry,
  readTimeEntry,
  TIME_ENTRY,
  timeEntryRelativeOffset,
  timeEntryTimestamp,
  writeTimeEntry,
} from './time-index.ts'
