/**
 * One step with an engine of many partitions, in a process of its own: `STEP PARTITIONS DIRECTORY`. Prints what it measured as
 * a line of JSON. A record's value is the number of its partition.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Appender, Millrace, type Producer } from '../../../client/index.ts'

const [step = '', partitionsText = '', directory = ''] = process.argv.slice(2)
const partitions = Number(partitionsText)
const TOPIC = 'many'
/** Longer than a partition keeps room ahead of its tail. */
const IDLE_MS = 10_000
const IDLE_MS_MAX = 60_000
const BLOCK_BYTES = 512

type Measured = Record<string, number>

const now = (): number => performance.now()
const descriptors = (): number => readdirSync('/proc/self/fd').length
const mappings = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').length
const anonymousBytes = (): number =>
  Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024

const open = (): Promise<Millrace> =>
  Millrace.open(
    directory,
    {},
    {
      warning: error => fail(`warning: ${error.message}`),
      partitionFailed: (_, error) => fail(`partition failed: ${error.message}`),
      recovered: (_, reports) => fail(`recovered: ${JSON.stringify(reports)}`),
    },
  )

function fail(what: string): never {
  console.error(what)
  process.exit(1)
}

async function appenders(producer: Producer, topic: string, count: number): Promise<Appender[]> {
  const list: Appender[] = []
  for (let partition = 0; partition < count; partition++) list.push(await producer.appender(topic, partition))
  return list
}

/** `rounds` records to each partition, in turn. */
async function appendInTurn(producer: Producer, list: readonly Appender[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const [partition, appender] of list.entries()) {
      while (!appender.tryAppend(Buffer.from(String(partition)))) await producer.ready()
    }
  }
  await producer.flush()
}

async function appendToEach(engine: Millrace): Promise<void> {
  await using producer = await engine.producer()
  await appendInTurn(producer, await appenders(producer, TOPIC, partitions), 1)
}

/** Looks at each partition's record. @returns how many were right */
async function lookAtEach(engine: Millrace, offset: number): Promise<number> {
  using lookup = await engine.lookup(TOPIC)
  let right = 0
  for (let partition = 0; partition < partitions; partition++) {
    const value = lookup.byOffset(partition, offset)?.value
    if (lookup.latest(partition) === offset + 1 && Buffer.from(value ?? []).toString() === String(partition)) right += 1
  }
  return right
}

/** Disk blocks of the logs, and what was written to them in whole pages. */
async function disk(engine: Millrace): Promise<Measured> {
  let allocated = 0
  let written = 0
  const { partitions: list } = await engine.admin.describeTopic(TOPIC)
  for (const { partition, sizeBytes } of list) {
    const path = join(directory, `${TOPIC}-${partition}`)
    for (const name of readdirSync(path)) {
      if (name.endsWith('.log')) allocated += statSync(join(path, name)).blocks * BLOCK_BYTES
    }
    written += Math.ceil(sizeBytes / 4096) * 4096
  }
  return { allocated, written }
}

const steps: Record<string, () => Promise<Measured>> = {
  /** A record in each, until all are idle. */
  async fill() {
    const engine = await open()
    await engine.admin.createTopic({ topic: TOPIC, partitions })
    const none = await disk(engine)
    await appendToEach(engine)
    await sleep(IDLE_MS)
    let idle = await disk(engine)
    const untilMs = now() + IDLE_MS_MAX
    while (idle['allocated'] !== idle['written'] && now() < untilMs) {
      await sleep(500)
      idle = await disk(engine)
    }
    await engine.close()
    return { allocatedEmpty: none['allocated'] as number, ...idle }
  },

  /** As it is after a clean close. */
  async idle() {
    const startMs = now()
    const engine = await open()
    const openMs = now() - startMs
    await sleep(1_000)
    const measured = { openMs, anonymousBytes: anonymousBytes(), descriptors: descriptors(), mappings: mappings() }
    const right = await lookAtEach(engine, 0)
    await engine.close()
    return { ...measured, right }
  },

  /** Records per second in turn to 10 partitions and to all, the better of several rounds that alternate. */
  async rate() {
    const engine = await open()
    const rates: Measured = {}
    for (const count of [10, partitions]) await engine.admin.createTopic({ topic: `rate-${count}`, partitions: count })
    for (let round = 0; round < 4; round++) {
      for (const count of [10, partitions]) {
        await using producer = await engine.producer()
        const list = await appenders(producer, `rate-${count}`, count)
        const startMs = now()
        await appendInTurn(producer, list, 100_000 / count)
        rates[count] = Math.max(rates[count] ?? 0, 100_000 / (now() - startMs))
      }
    }
    await engine.close()
    return { ratio: (rates[partitions] as number) / (rates[10] as number) }
  },

  /** Create, append, read in two ways, close, open, read. */
  async whole() {
    let engine = await open()
    await engine.admin.createTopic({ topic: TOPIC, partitions })
    await appendToEach(engine)
    const most = { descriptors: descriptors(), mappings: mappings() }
    let right = await lookAtEach(engine, 0)
    let read = 0
    for await (const { partition, value } of engine.reader({ topic: TOPIC }).records()) {
      if (Buffer.from(value ?? []).toString() === String(partition)) read += 1
    }
    await engine.close()
    engine = await open()
    right += await lookAtEach(engine, 0)
    await engine.close()
    return { ...most, right, read }
  },
}

const measured = await steps[step]?.()
console.log(JSON.stringify(measured ?? fail(`no step ${step}`)))
