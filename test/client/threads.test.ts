/** Producers, readers and look-ups in worker threads of the service, at once with those of its main thread. */
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { attachThread, type Millrace } from '../../client/index.ts'
import { EngineHome, readValues, SMALL, sleep, until } from './support/engine.ts'

let home: EngineHome
beforeAll(async () => {
  home = await EngineHome.open()
})
afterAll(() => home.close())

class ServiceThread {
  readonly worker: Worker
  readonly #answers = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #nextId = 1

  constructor(engine: Millrace, name: string) {
    const handle = engine.threadHandle()
    const path = new URL('programs/service-thread.ts', import.meta.url)
    this.worker = new Worker(path, { workerData: { handle, name }, transferList: [handle.port] })
    this.worker.on('message', ({ id, value, error }: { id: number; value: never; error?: string }) => {
      const answer = this.#answers.get(id)
      if (error === undefined) answer?.resolve(value)
      else answer?.reject(new Error(error))
    })
    this.worker.on('error', error => {
      for (const { reject } of this.#answers.values()) reject(error as Error)
    })
    running.push(this.worker)
  }

  ask<T>(command: string, ...args: unknown[]): Promise<T> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve, reject })
      this.worker.postMessage({ id, command, args })
    })
  }
}

const running: Worker[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map(worker => worker.terminate()))
})

interface Followed {
  readonly counts: Record<string, number>
  readonly disorder: number
}

const COUNT = 3_000

test('two threads and the main one send and follow at once: every record once, each sender in order', {
  timeout: 60_000,
}, async () => {
  const topic = await home.topic(3, SMALL)
  const threads = ['a', 'b'].map(name => new ServiceThread(home.engine, name))
  const total = 3 * COUNT
  const following = threads.map(thread => thread.ask<Followed>('follow', topic, total))
  const mainFollowing = (async () => {
    let seen = 0
    for await (const batch of home.engine.reader({ topic, to: 'never' })) {
      seen += [...batch].length
      if (seen >= total) break
    }
    return seen
  })()
  const sending = threads.map(thread => thread.ask<number>('send', topic, COUNT))
  await using producer = await home.engine.producer()
  for (let i = 0; i < COUNT; i++) {
    const sent = producer.send({ topic, messages: [{ value: `main/${i}`, key: 'main' }] })
    if (i % 50 === 0) await sent
  }
  await producer.flush()
  expect(await Promise.all(sending)).toEqual([COUNT, COUNT])
  for (const { counts, disorder } of await Promise.all(following)) {
    expect(counts['main']).toBe(COUNT)
    expect((counts['a'] ?? 0) + (counts['a-sync'] ?? 0)).toBe(COUNT)
    expect((counts['b'] ?? 0) + (counts['b-sync'] ?? 0)).toBe(COUNT)
    expect(disorder).toBe(0)
  }
  expect(await mainFollowing).toBe(total)
  const values = (await readValues(home.engine, topic)).flat()
  expect(values).toHaveLength(total)
  expect(new Set(values).size).toBe(total)
  expect(await threads[0]?.ask('lookUp', topic, 0, 0)).toMatch(/ true true$/)
})

test('errors cross as errors of the table, with their details', async () => {
  const thread = new ServiceThread(home.engine, 'a')
  expect(await thread.ask('failing', 'nowhere')).toBe('UNKNOWN_TOPIC_OR_PARTITION {"topic":"nowhere"}')
  await expect(thread.ask('lookUp', 'nowhere', 0, 0)).rejects.toThrow('UNKNOWN_TOPIC_OR_PARTITION')
  await expect(thread.ask('registerSchema', 'nonsense')).rejects.toThrow('INVALID_SCHEMA')
  const id = await thread.ask<number>('registerSchema', '"string"')
  expect((await home.engine.schemas.get(id)).subject).toBe('subject')
})

test('schemas are checked, registered and deleted from a thread as from its owner’s', async () => {
  const thread = new ServiceThread(home.engine, 'a')
  const version = (more: object[]): string =>
    JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'a', type: 'int' }, ...more] })
  const texts = [version([]), version([{ name: 'b', type: 'int', default: 0 }])]
  expect(await thread.ask('evolveSchemas', 'evolving', texts)).toEqual([true, 'object', 'FULL', [1, 2]])
  expect(await home.engine.schemas.versions('evolving')).toEqual([1, 2])
  await expect(thread.ask('evolveSchemas', 'evolving', ['"string"'])).rejects.toThrow(
    /INCOMPATIBLE_SCHEMA.*subject=evolving, version=2, compatibility=FULL.*record R cannot be read as string/,
  )
  expect(await thread.ask('deleteSubject', 'evolving')).toEqual([1, 2])
  expect(await home.engine.schemas.subjects()).not.toContain('evolving')
})

describe('what a thread that is gone leaves', () => {
  test('is reclaimed: slabs, rings and places, also of producers that were only asked for', async () => {
    const topic = await home.topic(2, SMALL)
    const before = home.engine.statistics().producers
    for (let round = 0; round < 3; round++) {
      const threads = ['a', 'b'].map(name => new ServiceThread(home.engine, name))
      await Promise.all(threads.map(thread => thread.ask('leave', topic)))
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    }
    await until(() => home.engine.statistics().producers === before, 'producers are given back')
    await using producer = await home.engine.producer()
    await producer.send({ topic, messages: [{ value: 'still here' }] })
    expect((await readValues(home.engine, topic)).flat()).toContain('still here')
  })

  test('in the middle of sending: what it was told is there is there, and nothing is torn', async () => {
    const topic = await home.topic(2, SMALL)
    for (let round = 0; round < 3; round++) {
      const thread = new ServiceThread(home.engine, `thread${round}`)
      thread.ask('send', topic, 1_000_000).catch(() => undefined)
      await until(async () => (await readValues(home.engine, topic)).flat().length > 200 * (round + 1), 'some records')
      await thread.worker.terminate()
    }
    await until(() => home.engine.statistics().producers === 0, 'producers are given back')
    const values = (await readValues(home.engine, topic)).flat()
    expect(new Set(values).size).toBe(values.length)
    for (const value of values) expect(value).toMatch(/^thread\d(-sync)?\/\d+$/)
  })

  test('a thread that closes its client gives everything back at once', async () => {
    const thread = new ServiceThread(home.engine, 'a')
    await thread.ask('hold')
    expect(home.engine.statistics().producers).toBe(1)
    await thread.ask('close')
    expect(home.engine.statistics().producers).toBe(0)
    await expect(thread.ask('hold')).rejects.toThrow('CLOSED')
  })
})

describe('an engine that closes under its threads', () => {
  test('fails what they send afterwards with CLOSED, soon', async () => {
    const other = await EngineHome.open()
    const topic = await other.topic(1, SMALL)
    const thread = new ServiceThread(other.engine, 'a')
    await thread.ask('hold')
    expect(await thread.ask('sendHeld', topic)).toMatchObject({ code: 'sent' })
    const following = expect(thread.ask<Followed>('follow', topic, 1_000)).rejects.toThrow('CLOSED')
    await sleep(20)
    await other.engine.close()
    const { code, tookMs } = await thread.ask<{ code: string; tookMs: number }>('sendHeld', topic)
    expect(code).toBe('CLOSED')
    expect(tookMs).toBeLessThan(2_000)
    await following
    await expect(thread.ask('hold')).rejects.toThrow('CLOSED')
    await thread.ask('close')
    await other.close()
  })

  test('while they send: what was acknowledged is there, and close does not wait for the busy', async () => {
    const other = await EngineHome.open()
    const topic = await other.topic(1, SMALL)
    const thread = new ServiceThread(other.engine, 'a')
    const busy = thread.ask('send', topic, 100_000_000).catch((error: Error) => error.message)
    const sending = thread.ask<{ acked: number; code: string }>('sendUntilFails', topic)
    await until(async () => (await readValues(other.engine, topic)).flat().length > 2_000, 'some records')
    const begunMs = performance.now()
    await other.engine.close()
    expect(performance.now() - begunMs).toBeLessThan(5_000)
    const { acked, code } = await sending
    expect(code).toBe('CLOSED')
    expect(await busy).toMatch('CLOSED')
    await other.reopen()
    const values = (await readValues(other.engine, topic)).flat()
    expect(new Set(values.filter(value => value?.startsWith('a-sync/'))).size).toBeGreaterThan(0)
    const present = new Set(values)
    for (let i = 0; i < acked; i++) expect(present.has(`a/${i}`)).toBe(true)
    await thread.worker.terminate()
    await other.close()
  })
})

describe('handles', () => {
  test('a handle that was posted without its port is told apart from a port that closed', () => {
    const handle = home.engine.threadHandle()
    const worker = (): Worker => new Worker('', { eval: true, workerData: handle })
    expect(worker).toThrow(/transfer/i)
    handle.port.close()
  })

  test('what is no handle is refused with what to do', () => {
    for (const handle of [undefined, {}, { port: {} }] as never[]) {
      expect(() => attachThread(handle)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    }
  })

  test('a read-only engine has none', async () => {
    const other = await EngineHome.open()
    await other.engine.close()
    await other.reopen({ readOnly: true })
    expect(() => other.engine.threadHandle()).toThrow('READ_ONLY')
    await other.close()
  })
})

test('a thread whose engine is slow to answer does not end before its record is sent', async () => {
  const topic = await home.topic()
  const handle = home.engine.threadHandle()
  const client = new URL('../../client/index.ts', import.meta.url).href
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.client).then(async ({ attachThread }) => {
      const producer = await attachThread(workerData.handle).producer()
      const sent = producer.send({ topic: workerData.topic, messages: [{ value: 'sent' }] })
      parentPort.postMessage('sending')
      await sent
    })
  `
  const worker = new Worker(program, { eval: true, workerData: { handle, client, topic }, transferList: [handle.port] })
  const exited = new Promise(resolve => worker.once('exit', resolve))
  await new Promise(resolve => worker.once('message', resolve))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500) // the thread asks for the topic meanwhile
  await exited
  expect(await readValues(home.engine, topic)).toEqual([['sent']])
})
