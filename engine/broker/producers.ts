/**
 * The producers of a running engine, in whatever threads they are: their numbers and their channels to the writers. Owned
 * by the broker's thread. When a producer closes, or its thread dies, every writer lets go of it before its number is
 * given away again.
 */
import { MillraceError } from '../base/errors.ts'
import { PRODUCERS_MAX } from '../base/limits.ts'
import { channelBuffer, markChannelDead } from '../memory/append-channel.ts'
import { unmap } from '../memory/libc.ts'
import type { SlabArenaHandle } from '../memory/slab-arena.ts'
import { WakeCell } from '../memory/wake-cell.ts'
import type { Threads } from './threads.ts'

/** What a producer brings along. */
export interface ProducerMemory {
  readonly arena: SlabArenaHandle
  /** One wake cell, on which it parks. */
  readonly cell: SharedArrayBuffer
}

/** What it gets: one channel to each writer. */
export interface ProducerGrant {
  readonly producerId: number
  readonly channels: readonly SharedArrayBuffer[]
}

interface Attached {
  readonly memory: ProducerMemory
  readonly channels: SharedArrayBuffer[]
}

export class Producers {
  readonly #threads: Threads
  readonly #attached = new Map<number, Attached>()
  #nextId = 1

  constructor(threads: Threads) {
    this.#threads = threads
  }

  get count(): number {
    return this.#attached.size
  }

  /** @throws TOO_MANY_PRODUCERS */
  async attach(memory: ProducerMemory): Promise<ProducerGrant> {
    if (this.#attached.size >= PRODUCERS_MAX)
      throw new MillraceError('TOO_MANY_PRODUCERS', { producersMax: PRODUCERS_MAX })
    const producerId = this.#nextId++
    const channels = Array.from({ length: this.#threads.writerCount }, () => channelBuffer())
    this.#attached.set(producerId, { memory, channels })
    try {
      await Promise.all(channels.map((_, writer) => this.#tell(producerId, writer)))
    } catch (error) {
      await this.detach(producerId) // the writers that did answer let go of it again
      throw error
    }
    return { producerId, channels }
  }

  #tell(producerId: number, writer: number): Promise<unknown> {
    const { memory, channels } = this.#attached.get(producerId) as Attached
    const attachment = { producerId, channel: channels[writer] as SharedArrayBuffer, ...memory }
    return this.#threads.writer(writer).request({ kind: 'attach', attachment })
  }

  /** A channel to the writer that took the place of one that died. */
  async reattach(producerId: number, writer: number): Promise<SharedArrayBuffer> {
    const attached = this.#attached.get(producerId)
    if (attached === undefined) throw new MillraceError('CLOSED', { producerId })
    const channel = channelBuffer()
    attached.channels[writer] = channel
    await this.#tell(producerId, writer)
    return channel
  }

  /** Every writer lets go of the producer; afterwards its slabs may be unmapped. */
  async detach(producerId: number): Promise<void> {
    if (!this.#attached.delete(producerId)) return
    const writers = Array.from({ length: this.#threads.writerCount }, (_, writer) => this.#threads.writer(writer))
    await Promise.all(
      writers.map(async writer => {
        try {
          if (!writer.ended) await writer.request({ kind: 'detach-producer', producerId })
        } catch (error) {
          if (!writer.ended) throw error // else it let go by dying
        }
      }),
    )
  }

  /** As `detach`, for a producer whose thread died and left its slabs mapped. */
  async reclaim(producerId: number): Promise<void> {
    const attached = this.#attached.get(producerId)
    if (attached === undefined) return
    const { address, slabBytes, slabCount } = attached.memory.arena
    await this.detach(producerId)
    unmap(address, slabBytes * slabCount)
  }

  /** A writer died: what is under way with it will not be answered. */
  writerDied(writer: number): void {
    for (const { memory, channels } of this.#attached.values()) {
      markChannelDead(channels[writer] as SharedArrayBuffer)
      new WakeCell(new Int32Array(memory.cell), 0).wake()
    }
  }
}
