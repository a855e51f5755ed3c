/** A service that opens a directory, works in all the ways there are, closes, and then has nothing left that keeps it alive. */
import { Worker } from 'node:worker_threads'
import { Millrace, type ProducerOptions } from '../../../client/index.ts'

const { directory } = JSON.parse(process.argv[2] as string) as { directory: string }
const engine = await Millrace.open(directory, { writers: 2, jobThreads: 2 })
await engine.admin.createTopic({ topic: 't', partitions: 3, config: { 'segment.bytes': 16_384 } })
const options: ProducerOptions[] = [{}, { lingerMs: 60_000 }, { acks: 0 }, { compression: 'zstd' }]
const producers = await Promise.all(options.map(option => engine.producer(option)))
for (const producer of producers) {
  const messages = Array.from({ length: 300 }, (_, i) => ({ value: `${i}`.repeat(20), key: `${i}` }))
  void producer.send({ topic: 't', messages }) // not awaited: closing sends it
}
let followed = 0
const following = (async () => {
  for await (const batch of engine.reader({ topic: 't', to: 'never' })) followed += [...batch].length
})()
const handle = engine.threadHandle()
const program = `
  const { workerData } = require('node:worker_threads')
  import(workerData.client).then(async ({ attachThread }) => {
    const producer = await attachThread(workerData.handle).producer()
    await producer.send({ topic: 't', messages: [{ value: 'from a thread' }] })
  })
`
const client = new URL('../../../client/index.ts', import.meta.url).href
const worker = new Worker(program, { eval: true, workerData: { handle, client }, transferList: [handle.port] })
await new Promise(resolve => worker.once('exit', resolve)) // it ends by itself without closing anything
const ended = following.then(
  () => 'ended',
  (error: { code?: string }) => String(error.code),
)
await engine.close()
console.log(JSON.stringify({ followed, following: await ended }))
