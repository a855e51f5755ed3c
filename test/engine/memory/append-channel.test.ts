import { beforeEach, describe, expect, test } from 'vitest'
import { ERRORS } from '../../../engine/base/errors.ts'
import { testSeed } from '../../../engine/base/random.ts'
import {
  CHANNEL_CAPACITY,
  COMPLETION,
  channelBuffer,
  channelIsLive,
  ERROR_CODES,
  markChannelDead,
  ProducerEnd,
  REQUEST,
  statusOf,
  WriterEnd,
} from '../../../engine/memory/append-channel.ts'
import type { ChannelReport, ChannelThread } from './channel-thread.ts'
import { putMessage } from './message.ts'
import { printSeed, runThreads } from './threads.ts'

const seed = testSeed()
const seedText = `MILLRACE_SEED=${seed}`
beforeEach(printSeed(seed))

/** Sets the counters of both rings, as after so many messages. */
function channelAt(start: number): SharedArrayBuffer {
  const buffer = channelBuffer()
  const { requests, completions } = new ProducerEnd(buffer)
  for (const { words } of [requests, completions]) words[0] = words[16] = start
  return buffer
}

test('every word of a request and of a completion has a place of its own', () => {
  for (const { words, ...places } of [REQUEST, COMPLETION]) {
    const indexes = Object.values(places)
    expect(new Set(indexes).size).toBe(indexes.length)
    expect(Math.max(...indexes)).toBeLessThan(words)
    expect((words * 4) % 32).toBe(0) // two entries to a cache line
  }
})

test('a status names its error, and 0 none', () => {
  expect(ERROR_CODES).toEqual(Object.keys(ERRORS))
  for (const code of ERROR_CODES) {
    expect(statusOf(code)).toBeGreaterThan(0)
    expect(ERROR_CODES[statusOf(code) - 1]).toBe(code)
  }
})

test('requests and completions do not meet, and there is room for an answer to each request', () => {
  const buffer = channelBuffer()
  const producer = new ProducerEnd(buffer)
  const writer = new WriterEnd(buffer)
  for (let request = 0; request < CHANNEL_CAPACITY; request++) {
    putMessage(producer.requests.words, producer.requests.reserve(), REQUEST.words, request)
    producer.requests.publish()
  }
  expect(producer.requests.reserve()).toBe(-1)
  for (let request = 0; request < CHANNEL_CAPACITY; request++) {
    const at = writer.requests.peek()
    expect(writer.requests.words[at + REQUEST.id]).toBe(request)
    writer.requests.release()
    const answerAt = writer.completions.reserve()
    expect(answerAt).not.toBe(-1)
    putMessage(writer.completions.words, answerAt, COMPLETION.words, request)
    writer.completions.publish()
  }
  expect(writer.requests.peek()).toBe(-1)
  expect(writer.completions.reserve()).toBe(-1)
  for (let request = 0; request < CHANNEL_CAPACITY; request++) {
    expect(producer.completions.words[producer.completions.peek() + COMPLETION.id]).toBe(request)
    producer.completions.release()
  }
  expect(producer.completions.peek()).toBe(-1)
  expect(producer.dead).toBe(false)
})

test('a channel whose writer died says so, and keeps what is in its rings', () => {
  const buffer = channelBuffer()
  const producer = new ProducerEnd(buffer)
  const writer = new WriterEnd(buffer)
  putMessage(writer.completions.words, writer.completions.reserve(), COMPLETION.words, 7)
  writer.completions.publish()
  expect([producer.dead, channelIsLive(buffer)]).toEqual([false, true])
  markChannelDead(buffer)
  expect([producer.dead, channelIsLive(buffer)]).toEqual([true, false])
  // What was answered before the death still counts.
  expect(producer.completions.words[producer.completions.peek() + COMPLETION.id]).toBe(7)
})

describe('across threads every request is answered once', () => {
  interface Run {
    readonly title: string
    readonly requests: number
    readonly start: number
    readonly producerParks: boolean
    readonly writerParks: boolean
    readonly shuffles?: boolean
    readonly producerDawdles?: number
    readonly writerDawdles?: number
  }

  const runs: Run[] = [
    {
      title: '10^7 messages, half of them down and half up, both sides spin, counters pass 2^32',
      requests: 5_000_000,
      start: -2_500_000,
      producerParks: false,
      writerParks: false,
    },
    {
      title: 'both sides park, answers overtake each other, counters pass 2^31',
      requests: 300_000,
      start: 0x8000_0000 - 150_000,
      producerParks: true,
      writerParks: true,
      shuffles: true,
    },
    {
      title: 'a slow writer that spins holds a producer that parks back',
      requests: 150_000,
      start: -1_000,
      producerParks: true,
      writerParks: false,
      writerDawdles: 10,
      shuffles: true,
    },
    {
      title: 'a slow producer that spins, a writer that parks',
      requests: 150_000,
      start: -1,
      producerParks: false,
      writerParks: true,
      producerDawdles: 10,
    },
  ]

  test.each(runs)('$title', async run => {
    const { requests } = run
    const channel = channelAt(run.start)
    const shared = { channel, cells: new SharedArrayBuffer(128), requests, shuffles: run.shuffles ?? false }
    const producer: ChannelThread = {
      ...shared,
      role: 'producer',
      parks: run.producerParks,
      dawdleEvery: run.producerDawdles ?? 0,
      seed,
    }
    const writer: ChannelThread = {
      ...shared,
      role: 'writer',
      parks: run.writerParks,
      dawdleEvery: run.writerDawdles ?? 0,
      seed: seed + 1,
    }
    const [pushed, answered] = await runThreads<ChannelReport>('channel-thread.ts', [producer, writer])
    if (pushed === undefined || answered === undefined) throw new Error('two reports')
    expect([pushed.messages, answered.messages]).toEqual([requests, requests])
    expect([pushed.lostWakeUps, answered.lostWakeUps], seedText).toEqual([0, 0])
    expect(pushed.overtaken > 0).toBe(run.shuffles ?? false)
    expect(pushed.idle + answered.idle).toBeGreaterThan(0)
    // Both rings went through the whole stretch of counters.
    const ends = new ProducerEnd(channel)
    for (const { words } of [ends.requests, ends.completions]) {
      expect([words[0], words[16]]).toEqual([(run.start + requests) | 0, (run.start + requests) | 0])
    }
  })
})
