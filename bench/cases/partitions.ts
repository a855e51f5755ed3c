/**
 * Thousand partitions: how long a clean open takes, and the rate of records that go to all of them in turn. Main thread.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Appender, Millrace, type Producer } from '../../client/index.ts'
import type { BenchCase, BenchContext } from '../harness/case.ts'
import type { Side } from '../harness/side.ts'
import { FIRST_TIMESTAMP, makeValues, VALUE_COUNT } from '../limits/values.ts'
import { KEEP, openEngine, TOPIC } from './engine.ts'

const PARTITIONS = 1_000
const FEW = 10
const VALUE_BYTES = 100
const RECORDS = 1_000_000
/** Of an open: enough that none of them is by chance. */
const OPENS = 3

async function appenders(producer: Producer, topic: string, partitions: number): Promise<Appender[]> {
  const list: Appender[] = []
  for (let partition = 0; partition < partitions; partition++) list.push(await producer.appender(topic, partition))
  return list
}

async function appendInTurn(producer: Producer, list: readonly Appender[], records: number): Promise<void> {
  const values = makeValues(VALUE_BYTES)
  for (let i = 0; i < records; i++) {
    const appender = list[i % list.length] as Appender
    while (!appender.tryAppend(values[i & (VALUE_COUNT - 1)] as Uint8Array, null, FIRST_TIMESTAMP + i)) {
      await producer.ready()
    }
  }
  await producer.flush()
}

/** A topic of its own for each side, which stays: what is measured is not the making of files. */
async function inTurn(context: BenchContext, partitions: number): Promise<Side> {
  const engine = await openEngine(context, `partitions-${partitions}`)
  await engine.admin.createTopic({ topic: TOPIC, partitions, config: KEEP })
  const producer = await engine.producer()
  const list = await appenders(producer, TOPIC, partitions)
  return {
    work: RECORDS,
    async round() {
      const start = performance.now()
      await appendInTurn(producer, list, RECORDS)
      return performance.now() - start
    },
  }
}

/** A directory with a record in each partition, closed cleanly. */
async function makeDirectory(context: BenchContext): Promise<string> {
  const directory = context.freshDirectory('open')
  await using engine = await Millrace.open(directory)
  await engine.admin.createTopic({ topic: TOPIC, partitions: PARTITIONS, config: KEEP })
  await using producer = await engine.producer()
  await appendInTurn(producer, await appenders(producer, TOPIC, PARTITIONS), PARTITIONS)
  return directory
}

function openSide(directory: string): Side {
  return {
    work: 1,
    async round() {
      let ms = 0
      for (let i = 0; i < OPENS; i++) {
        const start = performance.now()
        const engine = await Millrace.open(directory)
        ms += performance.now() - start
        await engine.close()
      }
      return ms / OPENS
    },
  }
}

/** What any program has to do that looks at all the files: list the folders and ask for each length. */
function lookSide(directory: string): Side {
  return {
    work: 1,
    round() {
      const start = performance.now()
      let files = 0
      for (const folder of readdirSync(directory, { withFileTypes: true })) {
        if (!folder.isDirectory()) continue
        const path = join(directory, folder.name)
        for (const name of readdirSync(path)) if (statSync(join(path, name)).isFile()) files += 1
      }
      const ms = performance.now() - start
      if (files < PARTITIONS) throw new Error(`${files} files in ${directory}`)
      return ms
    },
  }
}

export const partitionCases: BenchCase[] = [
  {
    name: 'append/1000-partitions',
    unit: 'records/s',
    bar: 0.5,
    limitName: 'the same to 10 partitions',
    run: async context => context.compareRates(await inTurn(context, PARTITIONS), await inTurn(context, FEW)),
  },
  {
    name: 'open/1000-partitions',
    unit: 'us',
    limitName: 'list + stat of the same files',
    async run(context) {
      const directory = await makeDirectory(context)
      return context.compareLatencies(openSide(directory), lookSide(directory))
    },
  },
]
