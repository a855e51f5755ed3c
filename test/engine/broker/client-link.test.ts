/** The port between the broker's thread and a worker thread of the service: calls, errors, and what a thread leaves behind. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, describe, expect, test } from 'vitest'
import { isMillraceError, MillraceError } from '../../../engine/base/errors.ts'
import { type ClientLink, PortLink, serveThread } from '../../../engine/broker/client-link.ts'
import type { ProducerMemory } from '../../../engine/broker/producers.ts'
import type { SchemaCall, SchemaService } from '../../../engine/broker/schema-service.ts'
import type { ClientTopic } from '../../../engine/broker/topic-metadata.ts'
import { createEngineMemory, EngineMemory } from '../../../engine/memory/engine-memory.ts'

const directory = mkdtempSync(`${tmpdir()}/millrace-link-`)
const memory = new EngineMemory(createEngineMemory(directory))
afterAll(() => {
  memory.release()
  rmSync(directory, { recursive: true, force: true })
})

const TOPIC: ClientTopic = { topic: 't', topicId: 'id', partitions: [], batchBytesMax: 1_000, version: 3 }

/** A broker that answers when it is told to. */
class TestLink implements ClientLink {
  readonly memory = memory
  readonly detached: number[] = []
  attach: () => Promise<{ producerId: number; channels: SharedArrayBuffer[] }> = async () => ({
    producerId: 7,
    channels: [],
  })

  async topic(topic: string): Promise<ClientTopic> {
    if (topic === 'never') return new Promise(() => undefined)
    if (topic === 'bug') throw new TypeError('not ours')
    if (topic !== 't') throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition: 3 })
    return TOPIC
  }

  attachProducer(): Promise<{ producerId: number; channels: SharedArrayBuffer[] }> {
    return this.attach()
  }

  async reattachProducer(): Promise<SharedArrayBuffer> {
    return new SharedArrayBuffer(8)
  }

  async allocateProducerId(): Promise<number> {
    return 1
  }

  async detachProducer(producerId: number): Promise<void> {
    this.detached.push(producerId)
  }

  async schemas<C extends SchemaCall>(
    call: C,
    ...args: Parameters<SchemaService[C]>
  ): Promise<ReturnType<SchemaService[C]>> {
    return [call, ...args] as unknown as ReturnType<SchemaService[C]>
  }

  async share(call: string, request: unknown): Promise<unknown> {
    return { call, request }
  }

  async group(call: string, request: unknown): Promise<unknown> {
    return { call, request }
  }

  isUnanswered(): boolean {
    return false
  }
}

const MEMORY = {} as ProducerMemory
const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise(resolve => setImmediate(resolve))
}

describe('calls', () => {
  test('come back with their values, however many are under way', async () => {
    const link = new PortLink(
      serveThread(new TestLink(), () => undefined),
      5_000,
    )
    const answers = await Promise.all([
      link.topic('t'),
      link.schemas('get', 5),
      link.schemas('register', 's', '"int"'),
      link.attachProducer(MEMORY),
      link.detachProducer(7),
      link.reattachProducer(7, 0),
      link.share('open', { group: 'g' }),
    ])
    expect(answers.slice(0, 5)).toEqual([
      TOPIC,
      ['get', 5],
      ['register', 's', '"int"'],
      { producerId: 7, channels: [] },
      undefined,
    ])
    expect(answers[5]).toBeInstanceOf(SharedArrayBuffer)
    expect(answers[6]).toEqual({ call: 'open', request: { group: 'g' } })
    link.close()
  })

  test('errors keep code, details and class; what is none of ours has its text as the cause', async () => {
    const link = new PortLink(
      serveThread(new TestLink(), () => undefined),
      5_000,
    )
    const unknown = await link.topic('x').catch((error: unknown) => error)
    expect(isMillraceError(unknown, 'UNKNOWN_TOPIC_OR_PARTITION')).toBe(true)
    expect(link.isUnanswered(unknown)).toBe(false)
    expect(unknown).toMatchObject({ details: { topic: 'x', partition: 3 } })
    const bug = await link.topic('bug').catch((error: unknown) => error)
    expect(bug).toMatchObject({ code: 'IO_ERROR', cause: expect.stringContaining('not ours') })
    link.close()
  })

  test('one that is not answered is TIMED_OUT with the name of the call', async () => {
    const link = new PortLink(
      serveThread(new TestLink(), () => undefined),
      30,
    )
    const late = await link.topic('never').catch((error: unknown) => error)
    expect(late).toMatchObject({ code: 'TIMED_OUT', details: { call: 'topic', timeoutMs: 30 } })
    expect(link.isUnanswered(late)).toBe(true) // it may have been carried out all the same
    expect(await link.topic('t')).toEqual(TOPIC)
    link.close()
  })

  test('a link that is closed fails what waits and what comes', async () => {
    const link = new PortLink(
      serveThread(new TestLink(), () => undefined),
      5_000,
    )
    const waiting = expect(link.topic('never')).rejects.toMatchObject({ code: 'CLOSED' })
    await turns(2)
    link.close()
    await waiting
    await expect(link.topic('t')).rejects.toMatchObject({ code: 'CLOSED' })
    link.close()
  })
})

describe('a thread that is gone', () => {
  test('leaves the producers that it has not detached', async () => {
    const link = new TestLink()
    let left: readonly number[] | undefined
    const handle = serveThread(link, producerIds => {
      left = producerIds
    })
    const port = new PortLink(handle, 5_000)
    for (const producerId of [4, 5, 6]) {
      link.attach = async () => ({ producerId, channels: [] })
      await port.attachProducer(MEMORY)
    }
    await port.detachProducer(5)
    handle.port.close()
    await turns()
    expect(left).toEqual([4, 6])
  })

  test('also one that was still being attached when it went', async () => {
    const link = new TestLink()
    const left: number[] = []
    const handle = serveThread(link, producerIds => left.push(...producerIds))
    const port = new PortLink(handle, 5_000)
    const { promise, resolve } = Promise.withResolvers<{ producerId: number; channels: SharedArrayBuffer[] }>()
    link.attach = () => promise
    const attaching = port.attachProducer(MEMORY).catch((error: unknown) => error)
    await turns()
    handle.port.close()
    await turns()
    expect(left).toEqual([])
    resolve({ producerId: 9, channels: [] })
    await turns()
    expect(left).toEqual([9])
    expect(await attaching).toMatchObject({ code: 'CLOSED' })
  })
})
