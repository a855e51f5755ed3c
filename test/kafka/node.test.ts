/**
 * Folders go from a real Apache Kafka node to Millrace, are appended to there, and go back under the stopped node together with
 * folders that Millrace wrote: whoever reads them, with what it has, gets the same records at the same offsets and times.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FETCH_TIMEOUT_MS, whyNoKafka } from '../../bench/kafka/jars.ts'
import { KafkaNode } from '../../bench/kafka/node.ts'
import { Millrace } from '../../client/index.ts'
import { parseEpochCheckpoint } from '../../engine/format/index.ts'
import { until } from '../client/support/engine.ts'
import { type Consumed, consume, write } from './support/consumed.ts'
import { type Dumped, dumpFolders } from './support/dump.ts'
import { kill } from './support/killed.ts'
import { KINDS, type Kind, message } from './support/kinds.ts'
import { asDumped, dumpedRecords, type PlainRecord, readAll } from './support/records.ts'
import { verify } from './support/verify.ts'

const reason = whyNoKafka()
if (reason !== undefined) console.log(`skipped: an Apache Kafka node: ${reason}`)

/** Of Kafka, with the configuration that `Write.java` gives them: its folders do not hold it. */
const THEIRS = ['mixed', 'compacted', 'transactions', 'epochs']
const THEIR_FOLDERS = ['mixed-0', 'mixed-1', 'compacted-0', 'transactions-0', 'epochs-0']
const configOf = (topic: string): Record<string, string | number> => ({
  'cleanup.policy': topic === 'compacted' ? 'compact' : 'delete',
  'index.interval.bytes': 200,
  'segment.ms': 1_000,
  'retention.ms': -1,
})
/** Topics of ours, each made as a kind of folder. */
const OURS = {
  ours: 'unordered-times',
  'ours-compacted': 'compacted',
  'ours-killed': 'killed',
  'ours-trimmed': 'trimmed',
} as const
const APPENDED = 50

describe.skipIf(reason !== undefined)('an Apache Kafka node', () => {
  const home = mkdtempSync(join(tmpdir(), 'millrace-kafka-node-'))
  const adopted = join(home, 'adopted')
  const made = join(home, 'made')
  const reports: unknown[] = []
  let node: KafkaNode
  /** What Kafka's consumer got of Kafka's topics before they were adopted. */
  let theirs: Map<string, Consumed>
  let committed: Consumed
  let epochsBefore: Map<string, string>
  /** What Millrace read right after the adoption. */
  const taken = new Map<string, PlainRecord[]>()
  let takenCommitted: PlainRecord[]
  const answers: { readonly asked: unknown; readonly kafka: number; readonly millrace: number }[] = []
  /** At last, by folder: what Millrace read, what Kafka's tool dumps and what Kafka's consumer got. */
  const last = new Map<string, PlainRecord[]>()
  let dumps: Map<string, Dumped>
  let served: Map<string, Consumed>

  beforeAll(async () => {
    node = await KafkaNode.create(join(home, 'node'))
    await Promise.all([fillNode(), fillOurs()])
    await adopt()
    dumps = await dumpFolders(THEIR_FOLDERS.map(name => join(adopted, name)))
    for (const name of THEIR_FOLDERS) exchange(join(adopted, name), name)
    for (const topic of Object.keys(OURS)) exchange(join(made, `${topic}-0`), `${topic}-0`)
    await node.start()
    served = await consume(node, [...THEIRS, ...Object.keys(OURS)])
    await write(node, 'last')
    await node.kill()
  }, FETCH_TIMEOUT_MS + 300_000)

  afterAll(async () => {
    await node.kill()
    rmSync(home, { recursive: true, force: true })
  }, 120_000)

  async function fillNode(): Promise<void> {
    await node.start()
    await write(node, 'first')
    await until(() => cleanedOffset(node) > 500, 'the cleaner has been there', 60_000)
    await node.stop()
    await node.start()
    await write(node, 'second')
    theirs = await consume(node, THEIRS, ['transactions'])
    committed = theirs.get('transactions-0!') as Consumed
    await node.stop()
    epochsBefore = new Map(THEIR_FOLDERS.map(name => [name, epochsOf(join(node.logs, name))]))
  }

  async function fillOurs(): Promise<void> {
    await kill(made, 'ours-killed', 2)
    await using engine = await Millrace.open(made, { writers: 1, jobThreads: 1, cleanerBackoffMs: 3_600_000 })
    for (const [topic, name] of Object.entries(OURS)) {
      const kind = KINDS.find(each => each.topic === name) as Kind | undefined
      if (kind !== undefined) {
        await engine.admin.createTopic({ topic, config: { 'retention.ms': -1, ...kind.config } })
        await kind.fill(engine, topic)
      }
      last.set(`${topic}-0`, await readAll(engine, topic))
    }
  }

  async function adopt(): Promise<void> {
    mkdirSync(adopted)
    const events = { recovered: (_: unknown, report: unknown) => void reports.push(report) }
    await using engine = await Millrace.open(adopted, { writers: 1, jobThreads: 1 }, events)
    for (const name of THEIR_FOLDERS) cpSync(join(node.logs, name), join(adopted, name), { recursive: true })
    for (const topic of THEIRS) {
      const { partitions } = await engine.admin.adoptTopic({ topic, config: configOf(topic) })
      for (let partition = 0; partition < partitions; partition++) {
        taken.set(`${topic}-${partition}`, await readAll(engine, topic, partition))
        await ask(engine, topic, partition)
      }
    }
    takenCommitted = await readAll(engine, 'transactions', 0, 'read_committed')
    await using producer = await engine.producer({ compression: 'zstd' })
    for (const name of THEIR_FOLDERS) {
      const [topic, partition] = [name.slice(0, -2), Number(name.at(-1))]
      const keyed = Array.from({ length: APPENDED }, (_, i) => ({ ...message(i), key: `ours-${i}`, partition }))
      await producer.send({ topic, messages: keyed })
      last.set(name, await readAll(engine, topic, partition))
    }
  }

  /** The questions that Kafka has answered. */
  async function ask(engine: Millrace, topic: string, partition: number): Promise<void> {
    using lookup = await engine.lookup(topic)
    const { seeks, times } = theirs.get(`${topic}-${partition}`) as Consumed
    for (const { offset, found } of seeks) {
      answers.push({
        asked: { topic, offset },
        kafka: found,
        millrace: lookup.byOffset(partition, offset)?.offset ?? -1,
      })
    }
    for (const { timestamp, found } of times) {
      const millrace = lookup.byTimestamp(partition, timestamp)?.offset ?? -1
      const kafka = recordFrom(theirs.get(`${topic}-${partition}`), timestamp, found)
      answers.push({ asked: { topic, timestamp }, kafka, millrace })
    }
  }

  /** Puts a folder in the place of the stopped node's; the topic stays the one that the node knows. */
  function exchange(from: string, name: string): void {
    const to = join(node.logs, name)
    for (const file of readdirSync(to)) if (file !== 'partition.metadata') rmSync(join(to, file))
    const filter = (path: string): boolean => !path.endsWith('partition.metadata')
    cpSync(from, to, { recursive: true, filter })
  }

  const plain = (consumed: Consumed | undefined): PlainRecord[] =>
    (consumed?.records ?? []).map(({ epoch: _, ...record }) => record)

  for (const name of THEIR_FOLDERS) {
    test(`a folder of Kafka's opens in Millrace with every record: ${name}`, () => {
      expect(theirs.get(name)?.records.length).toBeGreaterThan(60)
      expect(taken.get(name)).toEqual(plain(theirs.get(name)))
    })

    test(`and goes on, and Kafka's tool reads it: ${name}`, () => {
      const { complaints, batches, sane } = dumps.get(join(adopted, name)) as Dumped
      expect(complaints).toEqual([])
      expect(dumpedRecords({ batches })).toEqual(last.get(name)?.map(asDumped))
      expect(last.get(name)?.slice(0, -APPENDED)).toEqual(taken.get(name))
      expect(sane).toBe(readdirSync(join(adopted, name)).filter(file => /\d\.(time)?index$/.test(file)).length)
    })
  }

  for (const name of [...THEIR_FOLDERS, ...Object.keys(OURS).map(topic => `${topic}-0`)]) {
    test(`Kafka serves the folder from Millrace: ${name}`, () => {
      const expected = last.get(name) as PlainRecord[]
      const all = plain(served.get(name))
      // Kafka begins a log with its first segment; where it was trimmed to stands in our store.
      expect(all.slice(name === 'ours-trimmed-0' ? -expected.length : 0)).toEqual(expected)
      expect(all[0]?.offset).toBe(name === 'ours-trimmed-0' ? firstSegment(join(made, name)) : expected[0]?.offset)
      const { records, seeks, times } = served.get(name) as Consumed
      for (const { offset, found } of seeks) expect(found).toBe(offset)
      expect(seeks.length).toBeGreaterThan(5)
      for (const { timestamp, found } of times) {
        const right = records.find(record => record.timestamp >= timestamp)?.offset ?? -1
        expect(recordFrom(served.get(name), timestamp, found), `${timestamp}`).toBe(right)
      }
    })
  }

  test('the cleaner of Kafka has been there, and a transaction was aborted', () => {
    const offsets = (theirs.get('compacted-0') as Consumed).records.map(({ offset }) => offset)
    expect(offsets.length).toBeLessThan((offsets.at(-1) as number) / 2)
    expect(committed.records.length).toBeLessThan(plain(theirs.get('transactions-0')).length)
  })

  test('millrace verify finds the folders of Kafka sound, with what was appended', async () => {
    const { code, output } = await verify(adopted)
    expect(code, output).toBe(0)
  })

  test('read_committed leaves out what was aborted, as in Kafka', () => {
    expect(takenCommitted).toEqual(plain(committed))
  })

  test('look-ups by offset and by timestamp answer as Kafka did', () => {
    expect(answers.length).toBeGreaterThan(100)
    expect(answers.filter(({ kafka, millrace }) => kafka !== millrace)).toEqual([])
  })

  test('there was nothing to repair, and leader epochs go on where Kafka was', () => {
    expect(reports).toEqual([])
    for (const name of THEIR_FOLDERS) {
      const before = parseEpochCheckpoint(epochsBefore.get(name) as string) ?? []
      const now = parseEpochCheckpoint(epochsOf(join(adopted, name))) ?? []
      const end = (last.get(name)?.at(-1)?.offset ?? 0) + 1 - APPENDED
      const kept = before.filter(({ startOffset }) => startOffset < end)
      expect(now).toEqual([...kept, { epoch: (before.at(-1)?.epoch ?? 0) + 1, startOffset: end }])
      expect(served.get(name)?.records.at(-1)?.epoch).toBe(now.at(-1)?.epoch)
    }
    expect(parseEpochCheckpoint(epochsOf(join(adopted, 'epochs-0')))?.length).toBe(3)
  })

  test('what Kafka appended behind Millrace is taken in again, though the node was killed', {
    timeout: 120_000,
  }, async () => {
    const again = join(home, 'again')
    mkdirSync(again)
    cpSync(node.folder('epochs'), join(again, 'epochs-0'), { recursive: true })
    await using engine = await Millrace.open(again, { writers: 1, jobThreads: 1 })
    await engine.admin.adoptTopic({ topic: 'epochs', config: configOf('epochs') })
    const records = await readAll(engine, 'epochs')
    const before = last.get('epochs-0') as PlainRecord[]
    expect(records.slice(0, before.length)).toEqual(before)
    expect(records.slice(before.length).map(({ value }) => value)).toEqual(Array.from({ length: 40 }, () => 'phase-2'))
    expect((await engine.admin.describeTopic('epochs')).partitions[0]?.leaderEpoch).toBeGreaterThan(3)
  })
})

/** Kafka's answer for a timestamp may be the offset of a transaction marker, which stands for the next record. */
function recordFrom(consumed: Consumed | undefined, timestamp: number, found: number): number {
  const records = consumed?.records ?? []
  if (found === -1 || records.some(({ offset }) => offset === found)) return found
  return records.find(record => record.offset > found && record.timestamp >= timestamp)?.offset ?? -1
}

const epochsOf = (folder: string): string => readFileSync(join(folder, 'leader-epoch-checkpoint'), 'utf8')

const firstSegment = (folder: string): number =>
  Math.min(...readdirSync(folder).flatMap(file => (file.endsWith('.log') ? [Number.parseInt(file, 10)] : [])))

/** How far Kafka's cleaner has come in the topic `compacted`. */
function cleanedOffset(node: KafkaNode): number {
  try {
    const text = readFileSync(join(node.logs, 'cleaner-offset-checkpoint'), 'utf8')
    return Number(/^compacted 0 (\d+)$/m.exec(text)?.[1] ?? -1)
  } catch {
    return -1 // it has not begun, or is replacing the file
  }
}
