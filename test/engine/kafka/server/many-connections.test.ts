/**
 * 10,000 connections on which nothing happens, from processes of their own: others are answered as before, memory stays in
 * proportion, and more than allowed are refused.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../../../client/testing.ts'
import { metadata } from '../../../../engine/kafka/messages/metadata.ts'
import { openFilesMax } from '../../../../engine/memory/libc.ts'
import { WireClient } from '../support/wire-client.ts'

const KIB = 1024
const CONNECTIONS = 10_000
/** Each process has descriptors for so many. */
const PER_PROCESS = 2_500
const TIMEOUT_MS = 120_000

/** Opens connections, tells of it in a line, and again for each that ends; keeps the others until its input ends. */
const PROGRAM = `
  const { connect } = require('node:net')
  const [port, count] = process.argv.slice(1).map(Number)
  let [open, ended] = [0, 0]
  const next = () => {
    const socket = connect(port, '127.0.0.1', () => {
      if (++open === count) console.log('open')
      else if (open + 64 <= count) next()
    })
    socket.on('error', () => undefined).on('close', () => { if (++ended === count) console.log('ended') })
  }
  for (let i = 0; i < Math.min(64, count); i++) next()
  process.stdin.on('data', () => undefined).on('end', () => process.exit())
`

const children = new Set<ChildProcess>()

class Crowd {
  readonly #process: ChildProcess
  #said = ''

  constructor(port: number, count: number) {
    this.#process = spawn(process.execPath, ['-e', PROGRAM, String(port), String(count)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: TIMEOUT_MS,
    })
    children.add(this.#process)
    this.#process.stdout?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
    })
  }

  async said(word: string): Promise<void> {
    while (!this.#said.includes(word)) await once(this.#process.stdout as NodeJS.ReadableStream, 'data')
  }

  async leave(): Promise<void> {
    this.#process.stdin?.end()
    await once(this.#process, 'exit')
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 30_000; !condition(); ) {
    if (performance.now() > endMs) throw new Error('it did not come to that')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

async function answerMs(broker: TestBroker): Promise<number> {
  const startMs = performance.now()
  using client = await WireClient.open(broker.port)
  await client.request(metadata, 12, { topics: [{ name: 't' }] })
  return performance.now() - startMs
}

const hasDescriptors = openFilesMax() > CONNECTIONS + 1_000
if (!hasDescriptors) console.log(`skipped: 10,000 connections: a process may open only ${openFilesMax()} files`)

describe('connections', () => {
  test.skipIf(!hasDescriptors)('10,000 on which nothing happens', { timeout: TIMEOUT_MS }, async () => {
    await using broker = await testBroker({ engine: { writers: 1 } })
    const server = await broker.engine.listen({ port: 0, drainMs: 100 })
    await broker.engine.admin.createTopic({ topic: 't' })
    const before = process.memoryUsage().rss
    const crowds = Array.from({ length: CONNECTIONS / PER_PROCESS }, () => new Crowd(server.port, PER_PROCESS))
    await Promise.all(crowds.map(crowd => crowd.said('open')))
    await until(() => server.connections === CONNECTIONS)
    const bytesEach = (process.memoryUsage().rss - before) / CONNECTIONS
    expect(bytesEach).toBeLessThan(32 * KIB)
    expect(await answerMs(broker)).toBeLessThan(2_000)
    await crowds.shift()?.leave()
    await until(() => server.connections === CONNECTIONS - PER_PROCESS)
    await server.close()
    await Promise.all(crowds.map(crowd => crowd.said('ended'))) // by the server
    for (const crowd of crowds) await crowd.leave()
  })

  test('end when nothing has happened for long', { timeout: TIMEOUT_MS }, async () => {
    await using broker = await testBroker({ connectionIdleMs: 300 })
    const crowd = new Crowd(broker.port, 200)
    await crowd.said('ended')
    await crowd.leave()
  })

  test('are refused beyond what is allowed, and taken again when others have gone', {
    timeout: TIMEOUT_MS,
  }, async () => {
    await using broker = await testBroker()
    const server = await broker.engine.listen({ port: 0, connectionsMax: 50 })
    const first = new Crowd(server.port, 50)
    await first.said('open')
    await until(() => server.connections === 50)
    const refused = new Crowd(server.port, 5)
    await refused.said('ended')
    await refused.leave()
    expect(server.connections).toBe(50)
    await first.leave()
    await until(() => server.connections === 0)
    using client = await WireClient.open(server.port)
    await client.request(metadata, 12, { topics: [] })
  })
})
