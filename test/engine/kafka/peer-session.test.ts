import { expect, test } from 'vitest'
import type { FetchPosition } from '../../../engine/cluster/replica-source.ts'
import { PeerSession } from '../../../engine/kafka/peer-session.ts'

const position = (partition: number, offset = 0): FetchPosition => ({
  topicId: 'id',
  partition,
  leaderEpoch: 1,
  offset,
  lastEpoch: 1,
  logStartOffset: 0,
})

test('the first request names all, later ones what has changed and what is not wanted any more', () => {
  const session = new PeerSession()
  const [a, b, c] = [position(0), position(1), position(2)]
  expect(session.request([a, b, c])).toEqual({ sessionId: 0, sessionEpoch: 0, positions: [a, b, c], forgotten: [] })
  session.answered(77)
  expect(session.request([a, b, c])).toEqual({ sessionId: 77, sessionEpoch: 1, positions: [], forgotten: [] })
  session.answered(77)
  const further = position(1, 10)
  const came = position(3)
  expect(session.request([a, further, came])).toEqual({
    sessionId: 77,
    sessionEpoch: 2,
    positions: [further, came],
    forgotten: [c],
  })
  session.answered(77)
  expect(session.request([a, further, came, c]).positions).toEqual([c])
})

test('what the leader may not have taken is told anew, in a session of its own', () => {
  const session = new PeerSession()
  const all = [position(0), position(1)]
  session.request(all)
  session.answered(5)
  session.request([all[0] as FetchPosition])
  session.reset() // no answer
  expect(session.request(all)).toEqual({ sessionId: 5, sessionEpoch: 0, positions: all, forgotten: [] })
  session.answered(6)
  expect(session.request(all)).toMatchObject({ sessionId: 6, sessionEpoch: 1, positions: [] })
})

test('a leader without room for a session is asked for all each time', () => {
  const session = new PeerSession()
  const all = [position(0)]
  session.request(all)
  session.answered(0)
  expect(session.request(all)).toEqual({ sessionId: 0, sessionEpoch: 0, positions: all, forgotten: [] })
})
