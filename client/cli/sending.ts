/**
 * Sends records that come in lines, in the order in which they come: the lines of one chunk of input together, the next ones once
 * these are acknowledged. So memory is bounded, and what a slow pipe brings is not held back.
 */
import { createReadStream } from 'node:fs'
import type { Codec } from '../../engine/format/compression.ts'
import type { Millrace } from '../millrace.ts'
import type { Message, RecordMetadata } from '../types.ts'
import type { Context } from './context.ts'
import { CommandError } from './failure.ts'
import { linesOf } from './lines.ts'
import { count } from './output.ts'

/** The default buffer takes records of up to 4 MiB; a topic may allow larger ones. */
const BUFFER_BYTES_MIN = 4 * 2 ** 20
const BUFFER_BYTES_MAX = 2 ** 30

/** Records that went to one partition. */
export interface SentTo {
  readonly partition: number
  /** Offset of the first. */
  readonly baseOffset: number
  lastOffset: number
  count: number
}

export interface Sent {
  readonly count: number
  readonly partitions: readonly SentTo[]
}

export interface SendLines {
  readonly topic: string
  /** Stdin for `-` and when none is named. */
  readonly file: string | undefined
  readonly compression: Codec
  /** Undefined for a line that is none. @throws Error that says what is wrong with the line */
  readonly messageOf: (line: Buffer) => Message | undefined
}

/** @throws CommandError with the number of the line, and what `send` throws. What came before is in the topic then */
export async function sendLines(engine: Millrace, context: Context, request: SendLines): Promise<Sent> {
  const { topic, file, compression, messageOf } = request
  const { config } = await engine.admin.describeTopic(topic)
  const largest = Number(config['max.message.bytes'])
  const bufferBytes = Math.min(Math.max(BUFFER_BYTES_MIN, 2 * largest), BUFFER_BYTES_MAX)
  const producer = await engine.producer({ compression, bufferBytes })
  const sent = new Map<number, SentTo>()
  let count = 0
  let lineNumber = 0
  try {
    for await (const lines of linesOf(file === undefined || file === '-' ? context.stdin : createReadStream(file))) {
      const messages: Message[] = []
      let wrong: CommandError | undefined
      for (const line of lines) {
        lineNumber += 1
        try {
          const message = messageOf(line)
          if (message !== undefined) messages.push(message)
        } catch (error) {
          wrong = wrongLine(lineNumber, count + messages.length, error)
          break
        }
      }
      if (messages.length > 0) note(sent, await producer.send({ topic, messages }))
      count += messages.length
      if (wrong !== undefined) throw wrong
      if (context.signal.aborted) break
    }
  } catch (error) {
    if (!context.signal.aborted) throw error
  }
  await producer.close()
  return { count, partitions: [...sent.values()].sort((a, b) => a.partition - b.partition) }
}

function wrongLine(lineNumber: number, before: number, error: unknown): CommandError {
  const what = error instanceof Error ? error.message : String(error)
  const kept = before === 1 ? '1 record in front of it is' : `${count(before, 'record')} in front of it are`
  const advice = `Correct the line and go on from there: ${kept} in the topic.`
  return new CommandError(`line ${lineNumber}: ${what}`, advice, error)
}

function note(sent: Map<number, SentTo>, results: readonly RecordMetadata[]): void {
  for (const { partition, baseOffset, count } of results) {
    const known = sent.get(partition)
    if (known === undefined) sent.set(partition, { partition, baseOffset, lastOffset: baseOffset + count - 1, count })
    else {
      known.lastOffset = baseOffset + count - 1
      known.count += count
    }
  }
}
