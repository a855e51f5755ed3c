import { expect, test } from 'vitest'
import { QueueAcks, type SendAcknowledgements } from '../../client/queue-acks.ts'
import type { Acknowledgement } from '../../engine/group/share/share-types.ts'

type Sent = Parameters<SendAcknowledgements>[0]

const accept = (offset: number): Acknowledgement => ({ firstOffset: offset, lastOffset: offset, type: 'accept' })

/** Acknowledgements that are applied unless they hold an offset that was lost. */
function start(lost: readonly number[] = []) {
  const sent: Sent[] = []
  const acks = new QueueAcks(async partitions => {
    sent.push(structuredClone(partitions))
    return partitions.map(({ acknowledgements }) =>
      acknowledgements.map(({ firstOffset, lastOffset }) => !lost.some(o => o >= firstOffset && o <= lastOffset)),
    )
  })
  return { acks, sent }
}

test('those of one turn go together, by partition, and neighbours of the same kind as one range', async () => {
  const { acks, sent } = start()
  const retry: Acknowledgement = { firstOffset: 3, lastOffset: 3, type: 'release', notBeforeMs: 5 }
  await Promise.all([
    ...[2, 0, 1, 7].map(offset => acks.add(0, accept(offset))),
    acks.add(1, accept(3)),
    acks.add(0, retry),
    acks.add(0, { ...retry, firstOffset: 4, lastOffset: 4 }),
    acks.add(0, { ...retry, firstOffset: 5, lastOffset: 5, notBeforeMs: 6 }),
  ])
  expect(sent).toEqual([
    [
      {
        partition: 0,
        acknowledgements: [
          { firstOffset: 0, lastOffset: 2, type: 'accept' },
          { ...retry, lastOffset: 4 },
          { ...retry, firstOffset: 5, lastOffset: 5, notBeforeMs: 6 },
          accept(7),
        ],
      },
      { partition: 1, acknowledgements: [accept(3)] },
    ],
  ])
})

test('one that was lost does not speak for its neighbours', async () => {
  const { acks, sent } = start([2])
  const outcome = await Promise.allSettled([0, 1, 2, 3].map(offset => acks.add(0, accept(offset))))
  expect(outcome.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(outcome[2]).toMatchObject({ reason: { code: 'INVALID_RECORD_STATE', details: { partition: 0, offset: 2 } } })
  expect(sent.map(partitions => partitions[0]?.acknowledgements.length)).toEqual([1, 4])
})

test('what comes while a request is under way goes with the next, and an error is for those of its request', async () => {
  let release: () => void = () => undefined
  const sent: number[] = []
  const acks = new QueueAcks(async partitions => {
    sent.push(partitions[0]?.acknowledgements[0]?.firstOffset as number)
    await new Promise<void>(resolve => {
      release = resolve
    })
    if (sent.length === 1) throw new Error('lost')
    return partitions.map(({ acknowledgements }) => acknowledgements.map(() => true))
  })
  const first = acks.add(0, accept(1))
  first.catch(() => undefined)
  await new Promise(resolve => setImmediate(resolve))
  const second = acks.add(0, accept(2))
  await new Promise(resolve => setImmediate(resolve))
  expect(sent).toEqual([1])
  release()
  await expect(first).rejects.toThrow('lost')
  await new Promise(resolve => setImmediate(resolve))
  expect(sent).toEqual([1, 2])
  release()
  await second
  await acks.settled()
})
