import { expect, test } from 'vitest'
import { ConsumerCommits } from '../../client/consumer-commits.ts'
import type { TopicId } from '../../engine/base/brands.ts'
import { MillraceError } from '../../engine/base/errors.ts'
import type { OffsetToCommit } from '../../engine/group/requests.ts'

const commit = (partition: number, offset: number): OffsetToCommit => ({
  topicId: 'topic' as TopicId,
  partition,
  offset,
  leaderEpoch: 0,
  metadata: '',
})

/** Requests as they come; each is answered as `answers` says, by its number, or accepted. */
function target(answers: Readonly<Record<number, Error>> = {}) {
  const sent: string[] = []
  let refreshed = 0
  const commits = new ConsumerCommits({
    async send(offsets) {
      const number = sent.push(offsets.map(({ partition, offset }) => `${partition}/${offset}`).join(' '))
      await new Promise(resolve => setImmediate(resolve))
      const answer = answers[number]
      if (answer !== undefined) throw answer
    },
    async refresh() {
      refreshed += 1
    },
  })
  return { commits, sent, refreshes: () => refreshed }
}

test('one request at a time; what comes meanwhile shares the next, the last of each partition', async () => {
  const { commits, sent } = target()
  const first = [commits.add([commit(0, 1)]), commits.add([commit(1, 1), commit(0, 2)])]
  await new Promise(resolve => setTimeout(resolve, 0))
  const second = [commits.add([commit(0, 3)]), commits.add([commit(0, 4)]), commits.add([commit(2, 9)])]
  await Promise.all([...first, ...second])
  expect(sent).toEqual(['0/2 1/1', '0/4 2/9'])
})

test('when a shared request is refused each commit speaks for itself', async () => {
  const refusal = new MillraceError('UNKNOWN_TOPIC_OR_PARTITION')
  const { commits, sent } = target({ 1: refusal, 3: refusal })
  const results = await Promise.allSettled([
    commits.add([commit(0, 1)]),
    commits.add([commit(1, 1)]),
    commits.add([commit(2, 1)]),
  ])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(sent).toEqual(['0/1 1/1 2/1', '0/1', '1/1', '2/1'])
})

test('an old epoch is renewed, and what passes is tried again; what does not pass is told', async () => {
  const { commits, sent, refreshes } = target({
    1: new MillraceError('STALE_MEMBER_EPOCH'),
    2: new MillraceError('COORDINATOR_NOT_AVAILABLE'),
    4: new MillraceError('UNKNOWN_MEMBER_ID'),
  })
  await commits.add([commit(0, 1)])
  expect([sent.length, refreshes()]).toEqual([3, 1])
  await expect(commits.add([commit(0, 2)])).rejects.toThrow('UNKNOWN_MEMBER_ID')
  await commits.settled()
  await commits.add([commit(0, 3)])
  expect(sent).toEqual(['0/1', '0/1', '0/1', '0/2', '0/3'])
})
