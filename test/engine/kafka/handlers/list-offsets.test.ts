import { expect, test } from 'vitest'
import type { ClientPartition } from '../../../../engine/broker/topic-metadata.ts'
import { KAFKA_ERROR } from '../../../../engine/kafka/error-codes.ts'
import { handleListOffsets } from '../../../../engine/kafka/handlers/list-offsets.ts'
import type { Call, KafkaService } from '../../../../engine/kafka/service.ts'
import { ControlBlock, SLOT } from '../../../../engine/memory/control-block.ts'

const EPOCH = 5
const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3

/** A leader of one partition, with records 3 to 9 of which 3 to 6 are agreed on. */
function leader(knowsItsEnd: boolean): KafkaService {
  const control = new ControlBlock(new BigInt64Array(SLOT.words))
  control.set(0, SLOT.logStartOffset, 3)
  control.set(0, SLOT.highWatermark, 7)
  control.set(0, SLOT.logEndOffset, 10)
  control.set(0, SLOT.leaderEpoch, EPOCH)
  const location = { topic: 't', partition: 0, slot: 0, slotGeneration: 0 } as ClientPartition
  const reader = {
    highWatermark: 7,
    logStartOffset: 3,
    maxTimestamp: () => ({ offset: 6, timestamp: 60 }),
    seekTime: () => ({ offset: 4, timestamp: 40 }),
  }
  return {
    topic: () => ({}),
    partition: () => location,
    ledPartition: () => location,
    cluster: { leaderEpoch: () => EPOCH, knowsItsEnd: () => knowsItsEnd },
    readers: { checking: () => reader },
    broker: { memory: { control }, hosted: () => ({ slot: 0, epochs: [{ epoch: EPOCH, startOffset: 0 }] }) },
  } as unknown as KafkaService
}

async function ask(service: KafkaService, timestamp: number, currentLeaderEpoch = EPOCH, replicaId = -1) {
  const partitions = [{ partitionIndex: 0, currentLeaderEpoch, timestamp, maxNumOffsets: 1 }]
  const request = { replicaId, isolationLevel: 0, topics: [{ name: 't', partitions }], timeoutMs: 0 }
  const answer = await handleListOffsets(service, request, {} as Call)
  return answer?.topics[0]?.partitions[0]
}

test('a leader that does not know yet how far its log was agreed on tells no end of it', async () => {
  const service = leader(false)
  for (const timestamp of [LATEST, MAX_TIMESTAMP, 40])
    expect(await ask(service, timestamp)).toMatchObject({ errorCode: KAFKA_ERROR.OFFSET_NOT_AVAILABLE })
  expect(await ask(service, EARLIEST)).toMatchObject({ errorCode: 0, offset: 3 })
})

test('one that knows tells where the agreed records end', async () => {
  const service = leader(true)
  expect(await ask(service, LATEST)).toMatchObject({ errorCode: 0, offset: 7, leaderEpoch: EPOCH })
  expect(await ask(service, MAX_TIMESTAMP)).toMatchObject({ errorCode: 0, offset: 6, timestamp: 60 })
  expect(await ask(service, 40)).toMatchObject({ errorCode: 0, offset: 4, timestamp: 40 })
})

test('another epoch is refused before anything is told, but for who looks at replicas', async () => {
  for (const service of [leader(true), leader(false)]) {
    expect(await ask(service, LATEST, EPOCH - 1)).toMatchObject({ errorCode: KAFKA_ERROR.FENCED_LEADER_EPOCH })
    expect(await ask(service, LATEST, EPOCH + 1)).toMatchObject({ errorCode: KAFKA_ERROR.UNKNOWN_LEADER_EPOCH })
    expect(await ask(service, LATEST, -1, -2)).toMatchObject({ errorCode: 0, offset: 10, leaderEpoch: EPOCH })
  }
})
