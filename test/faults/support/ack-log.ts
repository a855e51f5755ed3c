/**
 * What producers know, written outside the engine: one line for each fact, appended with one `write` call, so that a line
 * survives the death of the process as soon as the call returned. A torn last line is the process dying inside the call.
 *
 * | line                                        | says                                                                    |
 * |---------------------------------------------|-------------------------------------------------------------------------|
 * | `ack STREAM FIRST END BASE`                 | numbers `[FIRST, END)` of a stream are acknowledged, at BASE on; -1: anywhere |
 * | `end TOPIC PARTITION OFFSET`                | what lies below was shown to a reader                                   |
 * | `recovered TOPIC PARTITION OFFSET`          | what lies below was there, and durable, when the engine had started     |
 * | `trim TOPIC PARTITION OFFSET`               | the records below OFFSET are about to be deleted                        |
 * | `trimmed TOPIC PARTITION OFFSET`            | they are                                                                |
 * | `dropping TOPIC`, `dropped TOPIC`           | the same for a topic                                                    |
 * | `created TOPIC`                             | the topic is there                                                      |
 * | `failed STREAM FIRST END CODE`              | an append was answered with an error                                    |
 * | `event …`                                   | anything else that a test wants to know                                 |
 */
import { openSync, readFileSync, writeSync } from 'node:fs'

export class AckLog {
  readonly #fd: number

  constructor(path: string) {
    this.#fd = openSync(path, 'a')
  }

  ack(stream: string, first: number, end: number, baseOffset: number): void {
    this.write(`ack ${stream} ${first} ${end} ${baseOffset}`)
  }

  write(line: string): void {
    writeSync(this.#fd, `${line}\n`)
  }
}

export interface Ack {
  readonly stream: string
  readonly first: number
  readonly end: number
  readonly baseOffset: number
}

/** All that an ack log says, sorted by what it is about. Partitions are named `topic/partition`. */
export interface AckBook {
  readonly acks: Ack[]
  readonly failed: { readonly stream: string; readonly first: number; readonly end: number; readonly code: string }[]
  /** Highest end of each partition that anyone was shown. */
  readonly ends: Map<string, number>
  readonly recovered: Map<string, number>
  /** Records below may be gone. */
  readonly trims: Map<string, number>
  /** Records below must be gone. */
  readonly trimmed: Map<string, number>
  readonly topics: Map<string, 'there' | 'dropping' | 'dropped'>
  readonly events: string[]
}

/** A log, or only its first bytes: what was there at some moment. */
export interface AckSource {
  readonly path: string
  readonly bytes?: number
  /** A picture that was taken between `bytes` and this many may show what was about to be done up to here. */
  readonly begunBytes?: number
}

const BEGINNINGS: readonly string[] = ['trim', 'dropping']

/** Several logs read one after the other tell one story. */
export function readAckBook(...sources: readonly AckSource[]): AckBook {
  const book: AckBook = {
    acks: [],
    failed: [],
    ends: new Map(),
    recovered: new Map(),
    trims: new Map(),
    trimmed: new Map(),
    topics: new Map(),
    events: [],
  }
  for (const { path, bytes, begunBytes } of sources) {
    const all = readFileSync(path)
    for (const line of wholeLines(all.subarray(0, bytes))) note(book, line)
    for (const line of wholeLines(all.subarray(0, begunBytes ?? bytes))) {
      if (BEGINNINGS.includes(line.split(' ')[0] as string)) note(book, line, true)
    }
  }
  return book
}

function wholeLines(bytes: Buffer): string[] {
  const text = bytes.toString('latin1')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(line => line !== '')
}

/** @param again the line may have been noted before: what came of it stays */
function note(book: AckBook, line: string, again = false): void {
  const [kind, name = '', a, b, c] = line.split(' ')
  const raise = (map: Map<string, number>): unknown =>
    map.set(`${name}/${a}`, Math.max(map.get(`${name}/${a}`) ?? 0, Number(b)))
  if (kind === 'ack') book.acks.push({ stream: name, first: Number(a), end: Number(b), baseOffset: Number(c) })
  else if (kind === 'failed') book.failed.push({ stream: name, first: Number(a), end: Number(b), code: c as string })
  else if (kind === 'end') raise(book.ends)
  else if (kind === 'recovered') raise(book.recovered)
  else if (kind === 'trim') raise(book.trims)
  else if (kind === 'trimmed') raise(book.trimmed)
  else if (kind === 'created') book.topics.set(name, 'there')
  else if (kind === 'dropping' && again && book.topics.get(name) === 'dropped') return
  else if (kind === 'dropping' || kind === 'dropped') book.topics.set(name, kind)
  else book.events.push(line.replace(/^event /, ''))
}
