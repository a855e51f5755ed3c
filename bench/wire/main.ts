/**
 * `npm run bench:wire`: Millrace against Apache Kafka 4 on this machine, with Kafka's own clients and kcat, in one run. The limit of
 * each row is Kafka's figure. Slowness never fails a run. Needs a JDK 17 and Maven; about ten minutes. Main thread.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { describeMachine, formatTable, type Row, toJsonRows } from '../harness/report.ts'
import { kafkaClassPath, whyNoKafka } from '../kafka/jars.ts'
import { apacheKafka, MillraceBroker } from './brokers.ts'
import { type Figures, measure, type WireOptions } from './measure.ts'

const USAGE = `npm run bench:wire -- [options]

  --json FILE    also write [{ case, value, unit, limit, ratio }] to FILE
  --records N    records of 100 bytes in a round, default 3000000
  --rounds N     rounds of each case, default 3; the median is printed
  --dir PATH     measure in a temporary folder below PATH, default ${tmpdir()}
  --help         print this

In the rows "cpu" the value is processor time of the broker for a million records.`

/** The bar of a row by the beginning of its name; ratios of costs are Kafka's figure divided by ours. */
const BARS: readonly (readonly [string, number])[] = [
  ['produce/', 1],
  ['consume/', 1],
  ['kcat/', 1],
  ['latency/p99', 1],
  ['memory', 4],
  ['start', 10],
]

function rowsOf(millrace: Figures, kafka: Figures): Row[] {
  return [...millrace].flatMap(([name, { value, unit }]) => {
    const limit = kafka.get(name)?.value
    if (limit === undefined) return []
    const bar = BARS.find(([start]) => name.startsWith(start))?.[1]
    const run = (): never => {
      throw new Error('it was measured already')
    }
    const benchCase = { name, unit, limitName: 'Apache Kafka', ...(bar === undefined ? {} : { bar }), run }
    return [{ benchCase, result: { value, limit } }]
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: 'string' },
      records: { type: 'string', default: '3000000' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string', default: tmpdir() },
      help: { type: 'boolean', default: false },
    },
  })
  const [records, rounds] = [Number(values.records), Number(values.rounds)]
  if (values.help || !(records >= 1_000) || !(rounds >= 1)) {
    console.log(USAGE)
    return values.help ? 0 : 2
  }
  const reason = process.platform === 'linux' ? whyNoKafka() : 'processes are looked at through /proc'
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`)
    return 0
  }
  await kafkaClassPath()
  const directory = mkdtempSync(join(values.dir, 'millrace-wire-'))
  const options: WireOptions = { directory, records, rounds, log: line => console.error(line) }
  try {
    const kafka = await measure(await apacheKafka(directory), options, undefined)
    const millrace = await measure(new MillraceBroker(directory, await freePort()), options, kafka)
    const rows = rowsOf(millrace, kafka)
    console.log(`\n${describeMachine(values.dir, rounds)}\n\n${formatTable(rows).join('\n')}`)
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(toJsonRows(rows), null, 2)}\n`)
    return 0
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

process.exitCode = await main()
