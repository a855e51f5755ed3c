/** Queues for the tests: each on a topic of its own in an engine that the test file opened. */
import { DEAD_LETTER_HEADERS, type Job, type Queue, type QueueOptions } from '../../../client/index.ts'
import { type EngineHome, text, until as untilWithin } from './engine.ts'

/** Dead letters make topics, and topics take seconds on a busy machine. */
export const WAIT_MS = 50_000

export const until = (holds: () => boolean | Promise<boolean>, what: string): Promise<void> =>
  untilWithin(holds, what, WAIT_MS)

let names = 0

/** A queue on a topic of its own. */
export async function newQueue(home: EngineHome, options: QueueOptions = {}): Promise<Queue> {
  const queue = home.engine.queue(`queue-${names++}`, { create: true, ...options })
  await queue.open()
  return queue
}

export async function pushAll(queue: Queue, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) => queue.push(`job ${i}`, { key: `${i}` })))
}

/** The dead letters of a topic, once there are so many: value and headers by their short names. */
export async function deadLetters(
  home: EngineHome,
  topic: string,
  count: number,
): Promise<Record<string, string | null>[]> {
  const letters: Record<string, string | null>[] = []
  await until(async () => (await home.engine.admin.listTopics()).includes(topic), `the topic ${topic}`)
  for await (const { value, headers } of home.engine.reader({ topic, to: { offset: count } }).records()) {
    const named = Object.entries(DEAD_LETTER_HEADERS).map(([name, key]) => {
      return [name, text(headers.find(header => header.key === key)?.value)]
    })
    letters.push({ value: text(value), ...Object.fromEntries(named) })
  }
  return letters
}

export const values = (jobs: readonly Job[]): (string | null)[] => jobs.map(job => text(job.value))
