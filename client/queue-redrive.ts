/** Brings dead letters back to the queue that they are from, as new jobs without the headers of the dead letter. */
import { isMillraceError } from '../engine/base/errors.ts'
import { DEAD_LETTER_HEADERS } from './dead-letters.ts'
import type { Job } from './job.ts'
import type { Producer } from './producer.ts'

/** Letters that are taken at once. */
const LETTERS_PER_TURN = 100

interface LetterSource {
  take(count: number): Promise<Job[]>
}

/**
 * @param letters the dead-letter topic as a queue
 * @param topic whose letters are wanted; those of others are given back
 * @returns how many were brought back
 */
export async function redriveLetters(
  letters: LetterSource,
  topic: string,
  producer: Producer,
  count: number,
): Promise<number> {
  const others: Job[] = []
  let redriven = 0
  while (redriven < count) {
    const taken = await takeThose(letters, Math.min(LETTERS_PER_TURN, count - redriven))
    if (taken.length === 0) break
    const mine = taken.filter(letter => headerOf(letter, DEAD_LETTER_HEADERS.topic) === topic)
    others.push(...taken.filter(letter => !mine.includes(letter)))
    // The job first: a crash in between brings it back twice, and does not lose it.
    await producer.send({ topic, messages: mine.map(messageOf) })
    await Promise.all(mine.map(letter => letter.ack()))
    redriven += mine.length
  }
  await Promise.all(others.map(letter => letter.retry()))
  return redriven
}

/** None where the dead-letter topic is not there yet. */
async function takeThose(letters: LetterSource, count: number): Promise<Job[]> {
  try {
    return await letters.take(count)
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return []
    throw error
  }
}

function messageOf({ key, value, headers, ...letter }: Job) {
  const own: readonly string[] = Object.values(DEAD_LETTER_HEADERS)
  const partition = Number(headerOf({ headers }, DEAD_LETTER_HEADERS.partition))
  return {
    key,
    value,
    headers: headers.filter(header => !own.includes(header.key)),
    partition,
    ...(letter.timestamp < 0 ? {} : { timestamp: letter.timestamp }),
  }
}

function headerOf({ headers }: Pick<Job, 'headers'>, key: string): string | undefined {
  const header = headers.find(each => each.key === key)
  return header?.value == null ? undefined : Buffer.from(header.value).toString()
}
