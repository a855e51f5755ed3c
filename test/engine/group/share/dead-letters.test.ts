import { expect, test } from 'vitest'
import { type AddressedLetter, DeadLetters } from '../../../../engine/group/share/dead-letters.ts'

function letter(deadLetterTopic: string, offset: number): AddressedLetter {
  const location = { topic: 't', partition: 0, directory: '', slot: 0, slotGeneration: 0 }
  return {
    firstOffset: offset,
    lastOffset: offset,
    deliveryCount: 1,
    cause: 'rejected',
    group: 'g',
    deadLetterTopic,
    location,
  }
}

const turn = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
}

test('letters go in order and are answered once they are appended; one topic does not keep another waiting', async () => {
  const appends: { offsets: number[]; resolve: () => void }[] = []
  const answered: number[] = []
  const letters = new DeadLetters(
    list => new Promise(resolve => appends.push({ offsets: list.map(one => one.firstOffset), resolve })),
    () => undefined,
  )
  for (const [topic, offset] of [
    ['a', 1],
    ['b', 10],
    ['a', 2],
    ['a', 3],
  ] as const) {
    letters.add(letter(topic, offset), () => answered.push(offset))
  }
  await turn()
  expect(appends.map(({ offsets }) => offsets)).toEqual([[1, 2, 3], [10]])
  expect(answered).toEqual([])
  appends[1]?.resolve()
  await turn()
  expect(answered).toEqual([10])
  letters.add(letter('a', 4), () => answered.push(4))
  appends[0]?.resolve()
  await turn()
  expect(answered).toEqual([10, 1, 2, 3])
  expect(appends[2]?.offsets).toEqual([4])
})

test('what could not be appended is tried again until it is', async () => {
  let attempts = 0
  const failures: unknown[] = []
  const letters = new DeadLetters(
    async () => {
      attempts += 1
      if (attempts < 3) throw new Error('no room')
    },
    error => failures.push(error),
  )
  let isAppended = false
  letters.add(letter('a', 1), () => {
    isAppended = true
  })
  await expect.poll(() => isAppended, { timeout: 20_000 }).toBe(true)
  expect([attempts, failures.length]).toEqual([3, 2])
})

test('a close does not wait for a topic that takes nothing, and answers nothing that is not appended', async () => {
  const letters = new DeadLetters(
    () => Promise.reject(new Error('no room')),
    () => undefined,
  )
  letters.add(letter('a', 1), () => expect.unreachable('it was never appended'))
  await turn()
  await letters.close()
  letters.add(letter('a', 2), () => expect.unreachable('it is closed'))
  await turn()
})
