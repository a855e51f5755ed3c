/** Millrace: Kafka's log as a library. What is exported here is the public API; docs/API.md is its reference. */
export { ERRORS, type ErrorCode, isMillraceError, MillraceError } from '../engine/base/errors.ts'
export type { AdoptedTopic } from '../engine/broker/adoption.ts'
export type { BrokerEvents } from '../engine/broker/broker-events.ts'
export type { ThreadHandle } from '../engine/broker/client-link.ts'
export type { EngineOptions } from '../engine/broker/options.ts'
export type {
  CheckOptions,
  CompatibilityReport,
  RegisterOptions,
  SchemaConflict,
  SchemaEntry,
} from '../engine/broker/schema-service.ts'
export type { Codec } from '../engine/format/compression.ts'
export { RecordCursor, type RecordHeader } from '../engine/format/record.ts'
export { EncodedBatch, encodeBatch } from '../engine/format/record-batch.ts'
export type {
  ShareGroupDescription,
  SharePartitionDescription,
  ShareTopicDescription,
} from '../engine/group/share/share-calls.ts'
export type { ShareCounts } from '../engine/group/share/share-types.ts'
export type { Duration } from '../engine/schema/logical-types.ts'
export { COMPATIBILITIES, type Compatibility, type SchemaReference } from '../engine/store/schemas.ts'
export type { ShareGroupConfig } from '../engine/store/share-states.ts'
export { Admin } from './admin.ts'
export { Appender } from './appender.ts'
export { AVRO_PREFIX_BYTES, AvroDefinition, AvroSerde, avro, type SchemaLookup } from './avro.ts'
export type { AvroInput, AvroType } from './avro-types.ts'
export type { ClusterEngineOptions, MillraceCluster } from './cluster.ts'
export type { ClusterListenOptions } from './cluster-listener.ts'
export { type ConnectOptions, connect } from './connect.ts'
export type * from './connection-types.ts'
export { Consumer } from './consumer.ts'
export type { ConsumedBatch } from './consumer-backend.ts'
export type * from './consumer-types.ts'
export { DEAD_LETTER_HEADERS } from './dead-letters.ts'
export type * from './group-types.ts'
export { Job } from './job.ts'
export { Lookup } from './lookup.ts'
export { type ListenOptions, Millrace, type MillraceOptions } from './millrace.ts'
export { Producer } from './producer.ts'
export { Queue } from './queue.ts'
export { NOT_BEFORE_HEADER } from './queue-consumer.ts'
export type * from './queue-types.ts'
export { ReadBatch } from './read-batch.ts'
export { Reader } from './reader.ts'
export { ConsumedRecord } from './record.ts'
export type { KafkaOptions } from './remote/options.ts'
export { Schemas } from './schemas.ts'
export { attachThread, ThreadClient } from './thread-client.ts'
export type * from './types.ts'
