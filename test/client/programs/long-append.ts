/** Appends and reads for some seconds through a log that retention keeps short, and tells how much anonymous memory that takes. */
import { readFileSync } from 'node:fs'
import { Millrace } from '../../../client/index.ts'

export interface LongAppendPlan {
  readonly directory: string
  /** It goes on for so long, and until so many bytes of values are appended; at the latest it ends after the last. */
  readonly runMs: number
  readonly bytesMin: number
  readonly runMsMax: number
}

const { directory, runMs, bytesMin, runMsMax } = JSON.parse(process.argv[2] as string) as LongAppendPlan
const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, retentionCheckMs: 100 })
const config = { 'segment.bytes': 8 * 2 ** 20, 'retention.bytes': 32 * 2 ** 20 }
await engine.admin.createTopic({ topic: 't', config })
const producer = await engine.producer()
const appender = await producer.appender('t')
const value = Buffer.alloc(100, 'v')

const anonymousKib = (): number => Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1])

let read = 0
const reader = engine.reader({ topic: 't', to: 'never', from: 'latest' })
const reading = (async () => {
  for await (const batch of reader) {
    const cursor = batch.cursor()
    while (cursor.next()) read += cursor.valueBytes
  }
})().catch((error: { code?: string }) => error.code) // retention may overtake it

let appended = 0
const startMs = performance.now()
let nextMs = startMs
while (appended < bytesMin ? performance.now() - startMs < runMsMax : performance.now() - startMs < runMs) {
  for (let i = 0; i < 20_000; i++) {
    while (!appender.tryAppend(value)) await producer.ready()
  }
  appended += 20_000 * value.length
  if (performance.now() >= nextMs) {
    nextMs += 100
    await producer.flush() // and the event loop turns, so that garbage is collected and mappings are given back
    await new Promise(resolve => setImmediate(resolve))
    const { pinnedBytes, mappedBytes } = engine.statistics()
    console.log(JSON.stringify({ appended, read, anonymousKib: anonymousKib(), pinnedBytes, mappedBytes }))
  }
}
reader.close()
await reading
await engine.close()
