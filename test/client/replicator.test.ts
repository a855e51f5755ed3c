import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Millrace, type MillraceCluster } from '../../client/index.ts'

const IDS = [1, 2, 3]

let dir: string
let cluster: MillraceCluster<Millrace> | undefined

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-replicator-'))
})
afterEach(async () => {
  await cluster?.close()
  cluster = undefined
  delete process.env['MILLRACE_FAILPOINTS']
  rmSync(dir, { recursive: true, force: true })
})

/** Whole batches of a partition as a broker has them, one segment behind the other. */
function bytesOf(brokerId: number): Buffer {
  const folder = join(dir, `broker-${brokerId}`, 't-0')
  const names = readdirSync(folder).filter(name => name.endsWith('.log'))
  return Buffer.concat(names.sort().map(name => wholeBatches(readFileSync(join(folder, name)))))
}

function wholeBatches(bytes: Buffer): Buffer {
  let at = 0
  while (at + 61 <= bytes.length && bytes.readInt32BE(at + 8) > 0) at += 12 + bytes.readInt32BE(at + 8)
  return bytes.subarray(0, at)
}

async function begin(): Promise<MillraceCluster<Millrace>> {
  cluster = await Millrace.cluster({ dir, brokers: 3 }, { writers: 1, jobThreads: 1 })
  const config = { 'min.insync.replicas': 2, 'segment.bytes': 65_536 }
  await cluster.broker(1).admin.createTopic({ topic: 't', partitions: 1, replicationFactor: 3, config })
  return cluster
}

/** Sends numbers from the engine that leads until it is told that all are there. */
async function send(running: MillraceCluster<Millrace>, from: number, to: number): Promise<void> {
  for (let next = from; next < to; ) {
    const leader = running.leaderOf('t', 0)
    if (leader === undefined) {
      await sleep(20)
      continue
    }
    const producer = await running.broker(leader).producer()
    try {
      for (; next < to; next++) {
        const value = `${next} `.padEnd(1_000, '.')
        await producer.send({ topic: 't', messages: [{ partition: 0, value }] })
      }
    } catch {
      await sleep(20) // it does not lead any more, or the other replicas are not there yet
    } finally {
      await producer.close().catch(() => undefined)
    }
  }
}

/** Numbers in a log, which may hold some more than once: nobody was told of those. */
async function numbersOf(brokerId: number): Promise<Set<number>> {
  const engine = await Millrace.open(join(dir, `broker-${brokerId}`), { readOnly: true })
  const numbers = new Set<number>()
  for await (const batch of engine.reader({ topic: 't' })) {
    for (const record of batch)
      numbers.add(
        Number(
          Buffer.from(record.value ?? [])
            .toString()
            .split(' ')[0],
        ),
      )
  }
  await engine.close()
  return numbers
}

async function check(running: MillraceCluster<Millrace>, count: number): Promise<void> {
  const ends = async () =>
    await Promise.all(
      IDS.map(async id => (await running.broker(id).admin.describeTopic('t')).partitions[0]?.logEndOffset),
    )
  await expect.poll(async () => new Set(await ends()).size, { timeout: 20_000 }).toBe(1)
  await running.close()
  const [one, two, three] = IDS.map(bytesOf) as [Buffer, Buffer, Buffer]
  expect(one.length).toBeGreaterThan(count * 1_000)
  expect(one.equals(two) && one.equals(three)).toBe(true)
  for (const id of IDS) {
    const numbers = await numbersOf(id)
    for (let number = 0; number < count; number++) expect(numbers.has(number)).toBe(true)
  }
}

test('what leaders append is on every replica, whoever leads, over many segments', async () => {
  const running = await begin()
  let sent = 0
  const more = async (count: number): Promise<void> => {
    sent += count
    await send(running, sent - count, sent)
  }
  for (const id of IDS) {
    await more(150)
    const sending = more(150) // while its leader goes
    await running.stop(id)
    await sending
    await running.start(id)
  }
  await more(100)
  await check(running, sent)
}, 120_000)

test('a replicator thread that dies is replaced, and nothing is left out', async () => {
  process.env['MILLRACE_FAILPOINTS'] = 'replicate-before-send=exit@60'
  const running = await begin()
  await send(running, 0, 200)
  delete process.env['MILLRACE_FAILPOINTS']
  await send(running, 200, 400)
  await check(running, 400)
}, 120_000)

test('a stream that fails is begun again where the follower is', async () => {
  process.env['MILLRACE_FAILPOINTS'] = 'replicate-before-send=throw@60'
  const running = await begin()
  await send(running, 0, 200)
  await check(running, 200)
}, 120_000)
