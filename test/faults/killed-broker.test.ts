/**
 * `kill -9` of a broker under the load of idempotent producers that want acks from all: what they were told is there is there once,
 * in order, after the restart. librdkafka and kafkajs try again by themselves what was under way.
 */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import { Child, temporaryFolder } from '../client/cli/support/cli.ts'
import { Kcat, kcat, whyNoKcat } from '../kafka/clients/support/kcat.ts'

const TIMEOUT_MS = 300_000
const KILLS = process.env['MILLRACE_FAULTS'] === 'all' ? 30 : 3
const PARTITIONS = 3
/** For what a client gets done in one life of the broker on a machine that is busy with something else. */
const LIFE_MS_MAX = 30_000

const reason = whyNoKcat()
if (reason !== undefined) console.log(`skipped: killed broker: ${reason}`)

const folder = temporaryFolder()
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** A broker on one port that is killed and comes back. */
class MortalBroker {
  readonly #directory = mkdtempSync(join(folder, 'broker-'))
  #port = 0
  #child: Child | undefined

  get bootstrap(): string {
    return `127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    const listen = ['serve', '-l', `127.0.0.1:${this.#port}`, '--default-partitions', String(PARTITIONS), '--json']
    this.#child = new Child(['--dir', this.#directory, ...listen])
    await this.#child.until('\n')
    const { listeners } = JSON.parse(this.#child.stdout) as { listeners: [{ port: number }] }
    this.#port = listeners[0].port
  }

  async kill(): Promise<void> {
    this.#child?.process.kill('SIGKILL')
    await this.#child?.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

/**
 * Kills it again and again, at moments of a seed.
 * @param done how many records the client got done: in each life of the broker some, or it would not be killed under load
 * @param least how many at least
 */
async function killAgainAndAgain(
  broker: MortalBroker,
  random: Random,
  done: () => number,
  least: number,
): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    const [before, untilMs] = [done(), performance.now() + LIFE_MS_MAX]
    await sleep(100 + random.below(600))
    while (done() < before + least && performance.now() < untilMs) await sleep(10)
    await broker.kill()
    await sleep(random.below(200))
    await broker.start()
  }
}

/** Values of each partition, in their order. */
async function consumed(broker: MortalBroker, topic: string): Promise<number[][]> {
  const partitions = Array.from({ length: PARTITIONS }, async (_, partition) => {
    const text = await kcat(broker.bootstrap, ['-C', '-t', topic, '-p', String(partition), '-e', '-q', '-f', '%s\\n'])
    return text
      .split('\n')
      .filter(line => line !== '')
      .map(Number)
  })
  return Promise.all(partitions)
}

describe.skipIf(reason !== undefined)('an idempotent producer', () => {
  test('librdkafka', { timeout: TIMEOUT_MS }, async () => {
    const random = new Random(testSeed())
    await using broker = new MortalBroker()
    await broker.start()
    const settings = ['enable.idempotence=true', 'acks=all', 'reconnect.backoff.max.ms=200', 'linger.ms=2']
    const producer = new Kcat(
      broker.bootstrap,
      ['-P', '-E', '-t', 'sent', ...settings.flatMap(setting => ['-X', setting])],
      TIMEOUT_MS,
    )
    let isOver = false
    let sent = 0
    const feeding = (async () => {
      while (!isOver) {
        const lines = Array.from({ length: 200 }, () => `${sent++}\n`).join('')
        const isTaken = producer.process.stdin.write(lines)
        if (!isTaken) await Promise.race([once(producer.process.stdin, 'drain'), producer.done])
        await sleep(1)
      }
      producer.process.stdin.end()
    })()
    await killAgainAndAgain(broker, random, () => sent, 1_000)
    isOver = true
    await feeding
    await producer.done // it ends well only if every record was acknowledged
    const partitions = await consumed(broker, 'sent')
    expect(sent).toBeGreaterThan(2_000)
    expect(
      partitions.flat().sort((a, b) => a - b),
      `MILLRACE_SEED=${random.seed}`,
    ).toEqual(Array.from({ length: sent }, (_, i) => i))
    for (const values of partitions) expect(values).toEqual(values.toSorted((a, b) => a - b))
  })

  test('kafkajs', { timeout: TIMEOUT_MS }, async () => {
    const random = new Random(testSeed())
    await using broker = new MortalBroker()
    await broker.start()
    const retry = { initialRetryTime: 50, maxRetryTime: 500, retries: 1_000 }
    const producer = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING, retry }).producer({
      idempotent: true,
      maxInFlightRequests: 1,
      retry,
    })
    await producer.connect()
    let isOver = false
    const acknowledged: number[] = []
    const failed: number[] = []
    const producing = (async () => {
      for (let value = 0; !isOver; value++) {
        try {
          await producer.send({ topic: 'sent', acks: -1, messages: [{ key: String(value % 7), value: String(value) }] })
          acknowledged.push(value)
        } catch {
          failed.push(value)
        }
      }
    })()
    await killAgainAndAgain(broker, random, () => acknowledged.length, 10)
    isOver = true
    await producing
    await producer.disconnect()
    const all = (await consumed(broker, 'sent')).flat()
    const found = new Set(all)
    expect(acknowledged.length).toBeGreaterThan(20)
    expect(
      acknowledged.filter(value => !found.has(value)),
      `MILLRACE_SEED=${random.seed}`,
    ).toEqual([])
    expect(all.length, 'none is there twice').toBe(found.size)
    expect([...found].filter(value => value > acknowledged.length + failed.length)).toEqual([])
  })
})
