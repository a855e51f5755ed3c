/**
 * Produce, InitProducerId: batches on their way into the log. A batch is checked for what only the protocol demands; everything else
 * (checksum, size, sequence, keys of compacted topics) its partition's writer checks.
 */
import { ERRORS } from '../../base/errors.ts'
import type { PlacedRequest } from '../../broker/ingest.ts'
import type { ClientPartition } from '../../broker/topic-metadata.ts'
import { BATCH, batchBytes, isControlBatch, isTransactional, maxTimestampOf } from '../../format/record-batch.ts'
import { ERROR_CODES, REQUEST_FLAG, statusOf } from '../../memory/append-channel.ts'
import { SLOT } from '../../memory/control-block.ts'
import type { WrittenMessage } from '../codec/notation.ts'
import { KAFKA_ERROR, kafkaCodeOf } from '../error-codes.ts'
import type { Handler } from '../handler.ts'
import { GROUPS_TOPIC } from '../internal-topics.ts'
import type { initProducerId } from '../messages/init-producer-id.ts'
import type { produce, produceResponse } from '../messages/produce.ts'
import type { Call, KafkaService } from '../service.ts'

type ProduceRequest = Parameters<Handler<typeof produce>>[1]
type ProduceAnswer = WrittenMessage<typeof produceResponse>
type PartitionAnswer = ProduceAnswer['responses'][number]['partitionResponses'][number]
type PartitionData = ProduceRequest['topicData'][number]['partitionData'][number]

/** Versions from which there are batches of magic 2. */
const FIRST_VERSION = 3
/** Names topics by id. */
const ID_VERSION = 13
const NOTHING = { baseOffset: -1, logAppendTimeMs: -1 }
/** A partition that is recovered is back within moments: clients try again. */
const RETRIED = new Map<number, number>([
  [statusOf('WRITER_CRASHED'), KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER],
  [statusOf('CLOSED'), KAFKA_ERROR.NOT_LEADER_OR_FOLLOWER],
])

/**
 * @param placed where the request's bytes lie
 * @returns what to answer; with acks 0 nothing, and `isFailed` says that the client has to be told by ending its connection
 */
export function handleProduce(
  service: KafkaService,
  request: ProduceRequest,
  call: Call,
  placed: PlacedRequest,
): Promise<ProduceAnswer> {
  const { acks, transactionalId, timeoutMs } = request
  const { promise, resolve } = Promise.withResolvers<ProduceAnswer>()
  const responses = request.topicData.map(({ name, topicId, partitionData }) => ({
    name,
    topicId,
    partitionResponses: partitionData.map(({ index }): PartitionAnswer & { errorCode: number } => ({
      index,
      errorCode: KAFKA_ERROR.REQUEST_TIMED_OUT,
      ...NOTHING,
    })),
  }))
  let open = 1
  let timer: NodeJS.Timeout | undefined
  const settle = (): void => {
    open -= 1
    if (open > 0) return
    clearTimeout(timer)
    resolve({ responses })
  }
  const refusal = refusalOf(acks, transactionalId, call.apiVersion)
  for (const [at, { name, topicId, partitionData }] of request.topicData.entries()) {
    const topic = service.topic(call.apiVersion >= ID_VERSION ? { topicId } : { name })
    for (const [index, data] of partitionData.entries()) {
      const answers = responses[at]?.partitionResponses as PartitionAnswer[]
      const answer = (errorCode: number, baseOffset = -1, logAppendTimeMs = -1): void => {
        const logStartOffset =
          typeof partition === 'number' ? -1 : service.broker.memory.control.get(partition.slot, SLOT.logStartOffset)
        answers[index] = { index: data.index, errorCode, baseOffset, logAppendTimeMs, logStartOffset }
      }
      const partition = service.ledPartition(topic, data.index)
      const fault =
        refusal ?? (typeof partition === 'number' ? partition : (internalFault(service, partition) ?? faultOf(data)))
      if (fault !== undefined) {
        answer(fault)
        continue
      }
      open += 1
      append(service, partition as ClientPartition, placed, data, acks, (code, baseOffset, time) => {
        answer(code, baseOffset, time)
        settle()
      })
    }
  }
  if (open > 1) {
    // What is not answered in time may be in the log or not.
    timer = setTimeout(
      () => {
        open = 1
        settle()
        open = Number.POSITIVE_INFINITY
      },
      Math.max(timeoutMs, 1),
    )
  }
  settle()
  return promise
}

function refusalOf(acks: number, transactionalId: string | null, version: number): number | undefined {
  if (version < FIRST_VERSION) return KAFKA_ERROR.UNSUPPORTED_VERSION
  if (acks < -1 || acks > 1) return KAFKA_ERROR.INVALID_REQUIRED_ACKS
  return transactionalId === null ? undefined : KAFKA_ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
}

/** The journal of groups is written by their coordinators alone. */
function internalFault({ placement }: KafkaService, { topic }: ClientPartition): number | undefined {
  return placement !== undefined && topic === GROUPS_TOPIC ? KAFKA_ERROR.INVALID_TOPIC_EXCEPTION : undefined
}

/** A partition gets exactly one whole batch, of magic 2, that is no part of a transaction. */
function faultOf({ records }: PartitionData): number | undefined {
  if (records === null || records.length < BATCH.headerBytes) return KAFKA_ERROR.INVALID_RECORD
  const view = new DataView(records.buffer, records.byteOffset, records.length)
  if (view.getInt8(BATCH.magicAt) !== 2) return KAFKA_ERROR.INVALID_RECORD
  if (batchBytes(view, 0) !== records.length) return KAFKA_ERROR.INVALID_RECORD
  if (isTransactional(view, 0)) return KAFKA_ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
  return isControlBatch(view, 0) ? KAFKA_ERROR.INVALID_RECORD : undefined
}

function append(
  service: KafkaService,
  partition: ClientPartition,
  placed: PlacedRequest,
  { records }: PartitionData,
  acks: number,
  done: (errorCode: number, baseOffset: number, logAppendTimeMs: number) => void,
): void {
  placed.append(partition, records as Uint8Array, acks === -1 ? 0 : REQUEST_FLAG.leaderOnly, (status, baseOffset) => {
    if (status === 0) done(KAFKA_ERROR.NONE, baseOffset, appendTime(service, partition, baseOffset))
    else {
      const code = ERROR_CODES[status - 1] as keyof typeof ERRORS
      done(RETRIED.get(status) ?? ERRORS[code].kafkaCode, -1, -1)
    }
  })
}

/** When a batch was appended, of a topic that says so in its records; -1 else. */
function appendTime(service: KafkaService, partition: ClientPartition, baseOffset: number): number {
  if (!service.topics.isLogAppendTime(partition.topic)) return -1
  try {
    const { pieces } = service.readers.of(partition).read(baseOffset, 1, true)
    const [first] = pieces
    return first === undefined ? -1 : maxTimestampOf(new DataView(first.buffer, first.byteOffset, first.length), 0)
  } catch {
    return -1 // it was removed meanwhile
  }
}

export const handleInitProducerId: Handler<typeof initProducerId> = async (service, { transactionalId }) => {
  if (transactionalId !== null) {
    return { errorCode: KAFKA_ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, producerId: -1, producerEpoch: -1 }
  }
  try {
    return { errorCode: KAFKA_ERROR.NONE, producerId: await service.cluster.allocateProducerId(), producerEpoch: 0 }
  } catch (error) {
    return { errorCode: kafkaCodeOf(error), producerId: -1, producerEpoch: -1 }
  }
}
