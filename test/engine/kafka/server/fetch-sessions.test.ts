/** Fetch sessions: what a client is told, what its requests may leave out, and that they do not grow without bound. */
import { describe, expect, test } from 'vitest'
import { SESSIONS_MAX } from '../../../../engine/kafka/limits.ts'
import {
  type FetchSession,
  FetchSessions,
  type WantedPartition,
} from '../../../../engine/kafka/server/fetch-sessions.ts'

const wanted = (partition: number, change: Partial<WantedPartition> = {}): WantedPartition => ({
  topic: 't',
  isId: false,
  partition,
  currentLeaderEpoch: -1,
  fetchOffset: 0,
  lastFetchedEpoch: -1,
  maxBytes: 1_000,
  ...change,
})

const state = { errorCode: 0, bytes: 0, highWatermark: 5, logStartOffset: 0 }

const wantedOf = (session: FetchSession): WantedPartition[] => Array.from(session.partitions, one => one.wanted)

function sessions(): { sessions: FetchSessions; clock: { nowMs: number } } {
  const clock = { nowMs: 0 }
  let id = 0
  return {
    sessions: new FetchSessions(
      () => clock.nowMs,
      () => id++,
    ),
    clock,
  }
}

const opened = (made: FetchSession | undefined): FetchSession => {
  if (made === undefined) throw new Error('no session')
  return made
}

test('a session has an id that is not 0, and goes on from epoch 1', () => {
  const { sessions: all } = sessions()
  const session = opened(all.open([wanted(0), wanted(1)]))
  expect(session.id).not.toBe(0)
  expect(all.resume(session.id, 1, [], [])).toBe(session)
  expect(all.resume(session.id, 2, [wanted(1, { fetchOffset: 9 }), wanted(2)], [wanted(0)])).toBe(session)
  expect(wantedOf(session)).toEqual([wanted(1, { fetchOffset: 9 }), wanted(2)])
})

test('epochs go round at the largest, to 1', () => {
  const { sessions: all } = sessions()
  const session = opened(all.open([wanted(0)]))
  session.epoch = 0x7fff_ffff
  expect(all.resume(session.id, 0x7fff_ffff, [], [])).toBe(session)
  expect(session.epoch).toBe(1)
})

describe('requests that are refused', () => {
  test('another session, another epoch, names instead of ids', () => {
    const { sessions: all } = sessions()
    const session = opened(all.open([wanted(0)]))
    expect(all.resume(session.id + 1, 1, [], [])).toBe('FETCH_SESSION_ID_NOT_FOUND')
    expect(all.resume(session.id, 2, [], [])).toBe('INVALID_FETCH_SESSION_EPOCH')
    expect(all.resume(session.id, 1, [wanted(1, { isId: true })], [])).toBe('FETCH_SESSION_TOPIC_ID_ERROR')
    expect(all.resume(session.id, 1, [], [])).toBe(session)
  })

  test('a closed session is not found', () => {
    const { sessions: all } = sessions()
    const session = opened(all.open([wanted(0)]))
    all.close(session.id)
    expect(all.resume(session.id, 1, [], [])).toBe('FETCH_SESSION_ID_NOT_FOUND')
  })
})

describe('news', () => {
  test('everything is at first; then records, an error or its end, another high watermark or log start', () => {
    const { sessions: all } = sessions()
    const partition = wanted(0)
    const session = opened(all.open([partition]))
    expect(session.isNews(partition, state)).toBe(true)
    session.told(partition, state)
    expect(session.isNews(partition, state)).toBe(false)
    expect(session.isNews(partition, { ...state, bytes: 1 })).toBe(true)
    expect(session.isNews(partition, { ...state, highWatermark: 6 })).toBe(true)
    expect(session.isNews(partition, { ...state, logStartOffset: 1 })).toBe(true)
    session.told(partition, { ...state, errorCode: 3 })
    expect(session.isNews(partition, state)).toBe(true)
  })

  test("of a log that parts from the leader's the follower is told, whatever else is as it was", () => {
    const { sessions: all } = sessions()
    const session = opened(all.open([wanted(0)]))
    session.told(wanted(0), state)
    expect(session.isNews(wanted(0), state)).toBe(false)
    expect(session.isNews(wanted(0), { ...state, isDiverging: true })).toBe(true)
  })

  test('who had records is served last the next time', () => {
    const { sessions: all } = sessions()
    const session = opened(all.open([wanted(0), wanted(1), wanted(2)]))
    session.told(wanted(0), { ...state, bytes: 10 })
    expect(wantedOf(session).map(({ partition }) => partition)).toEqual([1, 2, 0])
  })
})

test('there are as many as there is room for; idle ones give way, the oldest first', () => {
  const { sessions: all, clock } = sessions()
  const first = opened(all.open([wanted(0)]))
  const second = opened(all.open([wanted(0)]))
  for (let i = 2; i < SESSIONS_MAX; i++) opened(all.open([wanted(i)]))
  expect(all.open([wanted(0)])).toBe(undefined)
  clock.nowMs += 100_000
  expect(all.resume(first.id, 1, [], [])).toBe(first)
  clock.nowMs += 20_001
  expect(all.open([wanted(0)])).not.toBe(undefined)
  expect(all.size).toBe(SESSIONS_MAX)
  expect(all.resume(second.id, 1, [], [])).toBe('FETCH_SESSION_ID_NOT_FOUND')
  expect(all.resume(first.id, 2, [], [])).toBe(first)
})

test('without partitions there is no session, and sessions do not grow beyond what all may have', () => {
  const { sessions: all } = sessions()
  expect(all.open([])).toBe(undefined)
  const session = opened(all.open(Array.from({ length: 150_000 }, (_, i) => wanted(i))))
  const more = Array.from({ length: 60_000 }, (_, i) => wanted(200_000 + i))
  expect(all.open(more)).toBe(undefined)
  expect(all.resume(session.id, 1, more, [])).toBe('FETCH_SESSION_ID_NOT_FOUND')
  expect(all.size).toBe(0)
})
