/**
 * A topic of its own for every round of appends, and the memory that the engine has brought in ahead of its tail. The limits
 * write to memory that was brought in before; so that the engine's rounds do as well, `getAhead` moves the tail, off
 * the clock, until the engine has just allocated the next stretch. How far that reaches is seen in the file's disk blocks.
 * Where they do not tell (a file system that stores no zeros) pieces are timed as they come. Main thread.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Appender, Millrace, Producer } from '../../client/index.ts'
import { partitionDirectory, segmentFileName } from '../../engine/format/file-names.ts'
import { KEEP } from './engine.ts'

const MIB = 1024 * 1024

/** What a timed piece may write: from `AHEAD_BYTES` down to where the engine allocates again, at 32 MiB. */
export const PIECE_BYTES = 24 * MIB

/** Ahead of the tail when the engine has just allocated: it goes 64 MiB ahead. */
const AHEAD_BYTES = 56 * MIB

/** The engine's steps ahead double from 64 KiB to 64 MiB while this is appended. */
const RAMP_PIECES = 6
/** Appends of a MiB or so that may pass between two allocations. */
const NUDGES_MAX = 64
/** Long enough for an order to reach the engine's janitor, which allocates first. */
const NUDGE_MS = 2
/** Several times what the engine needs to bring 64 MiB in, and to index a piece. */
const PAUSE_MS = 60

const BLOCK_BYTES = 512

/** Something that is appended as a whole. */
export interface Piece {
  readonly records: number
  append(producer: Producer, appender: Appender): Promise<void>
}

/** The engine that takes the records of a topic, and a producer of it. */
export type Relocate = (topic: string) => Promise<readonly [Millrace, Producer]>

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export class RoundTopic {
  #engine: Millrace
  #producer: Producer
  readonly #relocate: Relocate | undefined
  #topic = ''
  #rounds = 0
  #records = 0
  #appender!: Appender

  /** @param relocate of a cluster: who leads a new topic */
  constructor(engine: Millrace, producer: Producer, relocate?: Relocate) {
    this.#relocate = relocate
    this.#engine = engine
    this.#producer = producer
  }

  /** Deletes the topic of the last round and creates the next. */
  async renew(): Promise<void> {
    if (this.#topic !== '') await this.#engine.admin.deleteTopic(this.#topic)
    this.#topic = `append-${this.#rounds++}`
    this.#records = 0
    await this.#engine.admin.createTopic({ topic: this.#topic, config: KEEP })
    if (this.#relocate !== undefined) [this.#engine, this.#producer] = await this.#relocate(this.#topic)
    this.#appender = await this.#producer.appender(this.#topic, 0)
  }

  /** @returns the milliseconds until all of it was acknowledged */
  async append(piece: Piece): Promise<number> {
    const start = performance.now()
    await piece.append(this.#producer, this.#appender)
    await this.#producer.flush()
    const ms = performance.now() - start
    this.#records += piece.records
    return ms
  }

  /** Brings the engine's steps ahead to their full size. */
  async ramp(piece: Piece): Promise<void> {
    for (let i = 0; i < RAMP_PIECES; i++) await this.append(piece)
  }

  /** Moves the tail by `nudge`s until the engine is as far ahead as it goes, and waits until that memory is there. */
  async getAhead(nudge: Piece): Promise<void> {
    for (let i = 0; i < NUDGES_MAX && (await this.#aheadBytes()) < AHEAD_BYTES; i++) {
      await this.append(nudge)
      await sleep(NUDGE_MS)
    }
    await sleep(PAUSE_MS)
  }

  async #aheadBytes(): Promise<number> {
    const path = join(this.#engine.directory, partitionDirectory(this.#topic, 0), segmentFileName(0, 'log'))
    const { partitions } = await this.#engine.admin.describeTopic(this.#topic)
    return statSync(path).blocks * BLOCK_BYTES - (partitions[0]?.sizeBytes ?? 0)
  }

  /** @throws unless the log holds what was appended */
  async check(): Promise<void> {
    const { partitions } = await this.#engine.admin.describeTopic(this.#topic)
    const highWatermark = partitions[0]?.highWatermark
    if (highWatermark !== this.#records) throw new Error(`${highWatermark} of ${this.#records} records`)
  }
}
