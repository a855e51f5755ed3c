/** A worker thread that appends without ever yielding to its event loop, through slabs that are far too few. */
import { parentPort, workerData } from 'node:worker_threads'
import { attachThread, type ThreadHandle } from '../../../client/index.ts'

const { handle, topic, count } = workerData as { handle: ThreadHandle; topic: string; count: number }
const client = attachThread(handle)
const producer = await client.producer({ batchBytes: 1_024, bufferBytes: 3_072 })
const appender = await producer.appender(topic, 0)
let refused = 0
for (let i = 0; i < count; ) {
  if (appender.tryAppend(Buffer.from(`${i}`), null, 1_000 + i)) i++
  else {
    refused++
    if (!producer.waitReady(10_000)) throw new Error('no room in ten seconds')
  }
}
await producer.flush()
await client.close()
parentPort?.postMessage({ refused })
