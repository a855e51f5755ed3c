/** A producer in a worker thread of the service, attached through a posted handle. Ends when it is told to, or does not care. */
import { parentPort } from 'node:worker_threads'
import { attachThread, type ThreadHandle } from '../../../client/index.ts'
import { Random } from '../../../engine/base/random.ts'
import { AckLog } from '../support/ack-log.ts'
import { appendHot, Streams, sendStream } from './streams.ts'
import { TOPICS } from './topics.ts'

export interface ThreadStart {
  readonly handle: ThreadHandle
  readonly ackPath: string
  readonly run: number
  readonly seed: number
  /** Topics to append to. */
  readonly names: readonly string[]
  /** With `send`, on the synchronous path, or on it until the thread ends in the middle of it without a word. */
  readonly mode: 'send' | 'hot' | 'quit'
}

let stopping = false

parentPort?.on('message', (message: ThreadStart | 'stop') => {
  if (message === 'stop') stopping = true
  else void work(message)
})

async function work({ handle, ackPath, run, seed, names, mode }: ThreadStart): Promise<void> {
  const client = attachThread(handle)
  const producer = await client.producer({ batchBytes: 16_384, bufferBytes: 131_072 })
  const targets = TOPICS.filter(({ topic }) => names.includes(topic))
  const random = new Random(seed)
  const streams = new Streams(new AckLog(ackPath), run)
  parentPort?.postMessage('ready')
  if (mode === 'quit') setTimeout(() => process.exit(0), random.below(50))
  const append = mode === 'send' ? sendStream : appendHot
  await append(producer, streams, 'thread', targets, random, () => stopping)
  await client.close()
  parentPort?.close()
}
