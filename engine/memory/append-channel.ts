/**
 * The two rings between one producer and one writer: requests go down, completions come up.
 *
 * A request names a batch that lies ready in the producer's slabs. The producer never has more requests under way than
 * the completion ring has room for, so the writer, which pushes exactly one completion for each request, never waits
 * for a busy producer. When the writer's thread dies the broker marks the channel dead; the producer then fails what
 * is under way and asks for a new channel.
 *
 *     SharedArrayBuffer:  word 0: state, word 1: processor of the producer  │ request ring │ completion ring
 */
import { ERRORS, type ErrorCode } from '../base/errors.ts'
import { RingReader, RingWriter, ringWords } from './ring.ts'

/** Requests under way between one producer and one writer. Two rings of this take 16 KiB. */
export const CHANNEL_CAPACITY = 256

/** Words of a request. */
export const REQUEST = {
  id: 0, // the producer's running number, 32 bits
  slot: 1, // of the partition in the control block
  slotGeneration: 2, // low 32 bits: a request for a partition that is gone must not reach its successor
  firstSlab: 3,
  slabCount: 4,
  batchBytes: 5,
  flags: 6,
  at: 7, // byte position in the producer's memory
  words: 8,
} as const

export const REQUEST_FLAG = {
  checkCrc: 1, // bytes from outside: verify before they reach the log
  keepSlabs: 2, // the producer frees the slabs itself: it may send the batch again
  leaderOnly: 4, // acks=1: answered once the leader has it, whoever else does
  replica: 8, // batches from the leader, one behind the other, to be stored as they are
} as const

/** In front of the batches of a replica: where the log has to end, 64 bits, big-endian. */
export const REPLICA_PREFIX_BYTES = 8

/** Words of a completion. */
export const COMPLETION = {
  id: 0,
  status: 1, // 0, or 1 + index of the error's code in ERROR_CODES
  baseOffsetLow: 2,
  baseOffsetHigh: 3,
  detail: 4, // a number that belongs to the error, such as a limit in bytes
  words: 8,
} as const

export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[]

/** The status word for an error code. */
export const statusOf = (code: ErrorCode): number => ERROR_CODES.indexOf(code) + 1

const STATE_WORD = 0
const CPU_WORD = 1
const HEADER_WORDS = 16
const LIVE = 0
const DEAD = 1

const requestWords = ringWords(CHANNEL_CAPACITY, REQUEST.words)
const completionWords = ringWords(CHANNEL_CAPACITY, COMPLETION.words)

export function channelBuffer(): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer((HEADER_WORDS + requestWords + completionWords) * 4)
  parts(buffer).header[CPU_WORD] = -1
  return buffer
}

function parts(buffer: SharedArrayBuffer): { header: Int32Array; requests: Int32Array; completions: Int32Array } {
  return {
    header: new Int32Array(buffer, 0, HEADER_WORDS),
    requests: new Int32Array(buffer, HEADER_WORDS * 4, requestWords),
    completions: new Int32Array(buffer, (HEADER_WORDS + requestWords) * 4, completionWords),
  }
}

/** The producer's end. */
export class ProducerEnd {
  readonly requests: RingWriter
  readonly completions: RingReader
  readonly #header: Int32Array

  constructor(buffer: SharedArrayBuffer) {
    const { header, requests, completions } = parts(buffer)
    this.#header = header
    this.requests = new RingWriter(requests, CHANNEL_CAPACITY, REQUEST.words)
    this.completions = new RingReader(completions, CHANNEL_CAPACITY, COMPLETION.words)
  }

  get dead(): boolean {
    return Atomics.load(this.#header, STATE_WORD) === DEAD
  }

  /** Tells the writer which processor this thread runs on. */
  noteCpu(cpu: number): void {
    Atomics.store(this.#header, CPU_WORD, cpu)
  }
}

/** The writer's end. */
export class WriterEnd {
  readonly requests: RingReader
  readonly completions: RingWriter
  readonly #header: Int32Array

  constructor(buffer: SharedArrayBuffer) {
    const { header, requests, completions } = parts(buffer)
    this.#header = header
    this.requests = new RingReader(requests, CHANNEL_CAPACITY, REQUEST.words)
    this.completions = new RingWriter(completions, CHANNEL_CAPACITY, COMPLETION.words)
  }

  /** Processor that the producer's thread ran on when it last told. */
  get producerCpu(): number {
    return Atomics.load(this.#header, CPU_WORD)
  }
}

/** The writer's thread is gone: nothing that is under way here will be answered. */
export function markChannelDead(buffer: SharedArrayBuffer): void {
  Atomics.store(parts(buffer).header, STATE_WORD, DEAD)
}

export function channelIsLive(buffer: SharedArrayBuffer): boolean {
  return Atomics.load(parts(buffer).header, STATE_WORD) === LIVE
}
