/** `millrace/testing`: brokers side by side, and the faults that are asked of them. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, test } from 'vitest'
import { type TestBroker, testBroker } from '../../client/testing.ts'
import { text } from './support/engine.ts'

const kafkaOf = ({ bootstrap }: TestBroker): Kafka =>
  new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 20, retries: 5 } })

async function send(broker: TestBroker, value: string): Promise<void> {
  const producer = kafkaOf(broker).producer()
  await producer.connect()
  try {
    await producer.send({ topic: 't', messages: [{ value }] })
  } finally {
    await producer.disconnect()
  }
}

async function valuesOf(broker: TestBroker): Promise<(string | null)[]> {
  const values: (string | null)[] = []
  for await (const { value } of broker.engine.reader({ topic: 't' }).records()) values.push(text(value))
  return values
}

test('several side by side know nothing of each other', async () => {
  const brokers = await Promise.all([testBroker(), testBroker(), testBroker()])
  await Promise.all(brokers.map((broker, index) => send(broker, `${index}`)))
  expect(await Promise.all(brokers.map(valuesOf))).toEqual([['0'], ['1'], ['2']])
  await Promise.all(brokers.map(broker => broker.close()))
})

test("under Node's own runner, which ends when its tests have", { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('programs/under-node-test.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', program], { timeout: 50_000 })
  expect(stdout).toMatch(/pass 1\b/)
})

describe('faults', () => {
  test('an error that passes: the client tries again, and the record is there once', async () => {
    await using broker = await testBroker()
    broker.faults.error('Produce', 'NOT_LEADER_OR_FOLLOWER', { times: 2 })
    await send(broker, 'a')
    expect(await valuesOf(broker)).toEqual(['a'])
  })

  test('an error that stays is told', async () => {
    await using broker = await testBroker()
    broker.faults.error('Produce', 'MESSAGE_TOO_LARGE')
    await expect(send(broker, 'a')).rejects.toMatchObject({ type: 'MESSAGE_TOO_LARGE' })
    broker.faults.clear()
    await send(broker, 'b')
    expect(await valuesOf(broker)).toEqual(['b'])
  })

  test('a connection that ends', async () => {
    await using broker = await testBroker()
    broker.faults.drop('Produce', { times: 1 })
    await send(broker, 'a')
    expect(await valuesOf(broker)).toEqual(['a'])
  })

  test('a delay, after some requests that are let through', async () => {
    await using broker = await testBroker()
    broker.faults.delay('Produce', 300, { after: 1, times: 1 })
    const tookMs = async (): Promise<number> => {
      const fromMs = performance.now()
      await send(broker, 'a')
      return performance.now() - fromMs
    }
    await tookMs() // the first connection, and the topic
    expect(await tookMs()).toBeGreaterThan(299)
    expect(await valuesOf(broker)).toEqual(['a', 'a'])
  })

  test('what is asked for has to make sense', async () => {
    await using broker = await testBroker()
    expect(() => broker.faults.drop('Nothing')).toThrow('INVALID_ARGUMENT')
    expect(() => broker.faults.delay('Produce', -1)).toThrow('INVALID_ARGUMENT')
    expect(() => broker.faults.error('Produce', 'NOTHING' as never)).toThrow('INVALID_ARGUMENT')
  })
})
