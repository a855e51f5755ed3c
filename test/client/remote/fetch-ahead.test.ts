import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Fetched, FetchLimits, Position } from '../../../client/remote/cluster.ts'
import { FetchAhead, type FetchSource, type FetchTarget } from '../../../client/remote/fetch-ahead.ts'
import { type ErrorCode, MillraceError } from '../../../engine/base/errors.ts'

interface Fetch {
  readonly leader: number
  readonly positions: readonly Position[]
  answer(): void
  refuse(error: MillraceError): void
}

/** A cluster whose answers the test gives. */
class Source implements FetchSource {
  readonly topics = new Map<string, number[]>([
    ['a', [1, 2, 1]],
    ['b', [1]],
  ])
  readonly fetches: Fetch[] = []
  readonly refreshed: string[] = []

  async leaders(topic: string, forceUpdate: boolean): Promise<readonly number[]> {
    if (forceUpdate) this.refreshed.push(topic)
    const leaders = this.topics.get(topic)
    if (leaders === undefined) throw failure('UNKNOWN_TOPIC_OR_PARTITION', { topic })
    return leaders
  }

  fetchFrom(leader: number, positions: readonly Position[], _limits: FetchLimits): Promise<Fetched[]> {
    const { promise, resolve, reject } = Promise.withResolvers<Fetched[]>()
    const answer = () => resolve(positions.map(position => fetchedAt(position)))
    this.fetches.push({ leader, positions, answer, refuse: reject })
    return promise
  }

  async fetch(index: number): Promise<Fetch> {
    for (let turn = 0; this.fetches.length <= index && turn < 400; turn++) await sleep(5)
    const found = this.fetches[index]
    if (found === undefined) throw new Error(`there is no fetch ${index}`)
    return found
  }
}

class Target implements FetchTarget {
  readonly topic: string
  readonly partition: number
  offset = 0
  taken = 0
  error: MillraceError | undefined

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  take(fetched: Fetched): void {
    this.taken += 1
    this.offset = fetched.nextOffset
  }

  fail(error: MillraceError): void {
    this.error = error
  }
}

const failure = (code: ErrorCode, details = {}) => new MillraceError(code, details)

function fetchedAt(position: Position): Fetched {
  return {
    ...position,
    records: [],
    nextOffset: position.offset + 1,
    leaderEpochs: [],
    highWatermark: 9,
    logStartOffset: 0,
  }
}

function made(patienceMs = Number.POSITIVE_INFINITY) {
  const source = new Source()
  return { source, ahead: new FetchAhead(source, { maxBytes: 1_000, isCommitted: false, patienceMs }) }
}

const places = ({ positions }: Fetch) => positions.map(({ topic, partition }) => `${topic}-${partition}`).sort()

describe('fetches ahead', () => {
  test('what begins to wait in one turn goes with one fetch to each leader', async () => {
    const { source, ahead } = made()
    const targets = [new Target('a', 0), new Target('a', 1), new Target('a', 2), new Target('b', 0)]
    const waits = targets.map(target => ahead.wait(target))
    const [first, second] = [await source.fetch(0), await source.fetch(1)]
    expect([first, second].map(fetch => [fetch.leader, places(fetch)])).toEqual([
      [1, ['a-0', 'a-2', 'b-0']],
      [2, ['a-1']],
    ])
    first.answer()
    second.answer()
    await Promise.all(waits)
    expect(targets.map(({ taken }) => taken)).toEqual([1, 1, 1, 1])
  })

  test('a leader that does not answer holds up its own partitions only', async () => {
    const { source, ahead } = made()
    const [slow, quick] = [new Target('a', 0), new Target('a', 1)]
    const never = ahead.wait(slow)
    for (let round = 0; round < 5; round++) {
      const wait = ahead.wait(quick)
      expect(ahead.wait(slow)).toBe(never)
      ;(await source.fetch(round + 1)).answer()
      await wait
    }
    expect(quick.taken).toBe(5)
    expect(source.fetches.map(({ leader }) => leader)).toEqual([1, 2, 2, 2, 2, 2])
    ahead.close()
    await never
    expect(slow.taken).toBe(0)
  })

  test('of one leader one fetch is under way, and who comes meanwhile goes with the next', async () => {
    const { source, ahead } = made()
    const first = ahead.wait(new Target('a', 0))
    await source.fetch(0)
    const late = [new Target('a', 2), new Target('b', 0)]
    const waits = late.map(target => ahead.wait(target))
    await sleep(20)
    expect(source.fetches).toHaveLength(1)
    source.fetches[0]?.answer()
    await first
    const next = await source.fetch(1)
    expect(places(next)).toEqual(['a-2', 'b-0'])
    next.answer()
    await Promise.all(waits)
  })

  test('an offset that is not there is told to its partition', async () => {
    const { source, ahead } = made()
    const targets = [new Target('a', 0), new Target('a', 2)]
    const waits = targets.map(target => ahead.wait(target))
    ;(await source.fetch(0)).refuse(failure('OFFSET_OUT_OF_RANGE', { topic: 'a', partition: 2, offset: 0 }))
    await Promise.all(waits)
    expect(targets.map(({ error }) => error?.code)).toEqual([undefined, 'OFFSET_OUT_OF_RANGE'])
  })

  test('a topic that is gone does not hold up the others', async () => {
    const { source, ahead } = made()
    const targets = [new Target('a', 0), new Target('b', 0), new Target('c', 0)]
    const waits = targets.map(target => ahead.wait(target))
    const first = await source.fetch(0)
    expect(places(first)).toEqual(['a-0', 'b-0'])
    source.topics.delete('b')
    first.refuse(failure('UNKNOWN_TOPIC_OR_PARTITION'))
    await Promise.all(waits)
    expect(targets.map(({ error }) => error?.code)).toEqual([
      undefined,
      'UNKNOWN_TOPIC_OR_PARTITION',
      'UNKNOWN_TOPIC_OR_PARTITION',
    ])
  })

  test('an error that no topic explains is told to all', async () => {
    const { source, ahead } = made()
    const targets = [new Target('a', 0), new Target('b', 0)]
    const waits = targets.map(target => ahead.wait(target))
    ;(await source.fetch(0)).refuse(failure('CORRUPT_BATCH'))
    await Promise.all(waits)
    expect(targets.map(({ error }) => error?.code)).toEqual(['CORRUPT_BATCH', 'CORRUPT_BATCH'])
  })

  test('who leads now is asked when a leader has changed', async () => {
    const { source, ahead } = made()
    const target = new Target('b', 0)
    const wait = ahead.wait(target)
    const first = await source.fetch(0)
    source.topics.set('b', [3])
    first.refuse(failure('LEADER_NOT_AVAILABLE'))
    await wait
    expect(target.error).toBe(undefined)
    const again = ahead.wait(target)
    const second = await source.fetch(1)
    expect({ leader: second.leader, refreshed: source.refreshed }).toEqual({ leader: 3, refreshed: ['b'] })
    second.answer()
    await again
    expect(target.taken).toBe(1)
  })

  test('what does not pass in time is told', { timeout: 20_000 }, async () => {
    const { source, ahead } = made(300)
    source.topics.set('b', [-1])
    const target = new Target('b', 0)
    for (let tries = 0; target.error === undefined && tries < 20; tries++) await ahead.wait(target)
    expect(target.error?.code).toBe('LEADER_NOT_AVAILABLE')
    expect(source.fetches).toEqual([])
  })
})
