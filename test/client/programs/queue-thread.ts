/** A worker thread of a service that works on a queue until it is told to stop or terminated; tells each step. */
import { parentPort, workerData } from 'node:worker_threads'
import { attachThread, type Job, type ThreadHandle } from '../../../client/index.ts'

const { handle, queue: name } = workerData as { handle: ThreadHandle; queue: string }
const client = attachThread(handle)
const queue = client.queue(name)
parentPort?.on('message', () => void client.close())

const tell = (what: string, { offset, deliveryCount }: Job): void =>
  parentPort?.postMessage({ what, offset, deliveryCount })

const work = async (job: Job): Promise<void> => {
  tell('delivered', job)
  await new Promise(resolve => setTimeout(resolve, job.offset % 3))
  try {
    if (job.offset % 11 === 3 && job.deliveryCount === 1) await job.retry()
    else {
      await job.ack()
      tell('acknowledged', job)
    }
  } catch (error) {
    parentPort?.postMessage({
      what: 'refused',
      offset: job.offset,
      deliveryCount: job.deliveryCount,
      error: String(error),
    })
  }
}
const running = new Set<Promise<void>>()
for await (const job of queue.jobs({ prefetch: 64 })) {
  const one = work(job).finally(() => running.delete(one))
  running.add(one)
  if (running.size >= 32) await Promise.race(running)
}
await Promise.all(running)
parentPort?.close()
