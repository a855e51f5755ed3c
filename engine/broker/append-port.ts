/**
 * One producer's way to the writers: its slabs, its channel to each writer, the wake cell on which it waits. What a batch is, and who
 * is told of it, is its owner's business. Used by one thread, in which nothing here waits.
 *
 *     push ──▶ request ring ──▶ writer ──▶ completion ring ──▶ poll ──▶ handler.completed
 *
 * Every request under way has a place in the completion ring, so at most CHANNEL_CAPACITY are, per writer. When a writer dies
 * the owner is told once, and a new channel is asked for.
 */
import { KIB } from '../base/limits.ts'
import { CHANNEL_CAPACITY, COMPLETION, ProducerEnd, REQUEST } from '../memory/append-channel.ts'
import type { EngineMemory } from '../memory/engine-memory.ts'
import { currentCpu } from '../memory/libc.ts'
import { Mapping } from '../memory/mapping.ts'
import { SlabArena } from '../memory/slab-arena.ts'
import { WAKE_CELL_BYTES, WakeCell } from '../memory/wake-cell.ts'
import type { Broker } from './broker.ts'
import type { ProducerGrant, ProducerMemory } from './producers.ts'
import type { ClientPartition } from './topic-metadata.ts'

/** What a port needs of the broker, in whatever thread that is. */
export interface AppendLink {
  readonly memory: EngineMemory
  attachProducer(memory: ProducerMemory): Promise<ProducerGrant>
  reattachProducer(producerId: number, writer: number): Promise<SharedArrayBuffer>
  detachProducer(producerId: number): Promise<void>
  /** True for an error that is not the broker's answer: the call may have been carried out. */
  isUnanswered(error: unknown): boolean
}

/** The link of the broker's own thread. */
export function appendLinkOf({ memory, producers }: Pick<Broker, 'memory' | 'producers'>): AppendLink {
  return {
    memory,
    attachProducer: producers.attach.bind(producers),
    reattachProducer: producers.reattach.bind(producers),
    detachProducer: producers.detach.bind(producers),
    isUnanswered: () => false,
  }
}

/** A finished batch in the slabs. */
export interface AppendRequest {
  /** Of the slabs and of the completion; not 0, 31 bits. */
  readonly id: number
  readonly firstSlab: number
  readonly slabCount: number
  /** Byte position in the arena. */
  readonly at: number
  readonly bytes: number
  /** REQUEST_FLAG */
  readonly flags: number
}

export interface AppendHandler {
  /** @param status 0, or what `statusOf` gives for the error; @param detail a number that belongs to the error */
  completed(id: number, status: number, baseOffset: number, detail: number): void
  /** What is under way with this writer may have been appended or not, and is not answered any more. */
  writerDied(writer: number): void
  /** There is a channel to the writer again. */
  reattached(writer: number): void
}

interface Channel {
  end: ProducerEnd
  underWay: number
  /** Pushed since the writer was last woken. */
  unseenBytes: number
  /** A new channel was asked for, after the writer died. */
  reattaching: boolean
}

/** A writer that is parked is woken when this much waits for it, if the caller does not yield before. */
const WAKE_BYTES = 256 * KIB

export class AppendPort {
  readonly arena: SlabArena
  /** On which this thread waits for completions. */
  readonly cell: WakeCell
  readonly #link: AppendLink
  readonly #mapping: Mapping
  readonly #producerId: number
  readonly #channels: readonly Channel[]
  #wakeScheduled = false

  private constructor(link: AppendLink, mapping: Mapping, memory: ProducerMemory, grant: ProducerGrant) {
    this.#link = link
    this.#mapping = mapping
    this.arena = new SlabArena(memory.arena)
    this.cell = new WakeCell(new Int32Array(memory.cell), 0)
    this.#producerId = grant.producerId
    this.#channels = grant.channels.map(channel => ({
      end: new ProducerEnd(channel),
      underWay: 0,
      unseenBytes: 0,
      reattaching: false,
    }))
  }

  /** @throws TOO_MANY_PRODUCERS, CLOSED, TIMED_OUT */
  static async attach(link: AppendLink, slabBytes: number, slabCount: number): Promise<AppendPort> {
    const mapping = Mapping.anonymous(slabBytes * slabCount)
    const arena = { address: mapping.address, slabBytes, slabCount, states: new SharedArrayBuffer(slabCount * 4) }
    const memory = { arena, cell: new SharedArrayBuffer(WAKE_CELL_BYTES) }
    try {
      return new AppendPort(link, mapping, memory, await link.attachProducer(memory))
    } catch (error) {
      // Else the broker may know the slabs, and unmaps them itself when it finds that this thread is gone.
      if (!link.isUnanswered(error)) mapping.release()
      throw error
    }
  }

  /** Hands a batch to its partition's writer. False when that has no room for a request, or died: try again after `poll`. */
  push(partition: ClientPartition, batch: AppendRequest): boolean {
    const channel = this.#channels[partition.writer] as Channel
    if (channel.underWay === CHANNEL_CAPACITY || channel.end.dead) return false
    const { requests } = channel.end
    const at = requests.reserve()
    if (at === -1) return false
    const { words } = requests
    words[at + REQUEST.id] = batch.id
    words[at + REQUEST.slot] = partition.slot
    words[at + REQUEST.slotGeneration] = partition.slotGeneration
    words[at + REQUEST.firstSlab] = batch.firstSlab
    words[at + REQUEST.slabCount] = batch.slabCount
    words[at + REQUEST.batchBytes] = batch.bytes
    words[at + REQUEST.flags] = batch.flags
    words[at + REQUEST.at] = batch.at
    requests.publish()
    channel.underWay += 1
    channel.unseenBytes += batch.bytes
    if (channel.unseenBytes >= WAKE_BYTES) this.#wakeWriter(partition.writer)
    else this.#wakeSoon()
    return true
  }

  /**
   * Waking a parked thread costs more than a batch does, so a loop that never yields wakes the writer once for several;
   * whoever yields, waits or finds no room wakes it at once.
   */
  #wakeSoon(): void {
    if (this.#wakeScheduled) return
    this.#wakeScheduled = true
    queueMicrotask(() => {
      this.#wakeScheduled = false
      this.wakeWriters()
    })
  }

  /** Wakes every writer that has something to see. */
  wakeWriters(): void {
    for (let writer = 0; writer < this.#channels.length; writer++) {
      if ((this.#channels[writer] as Channel).unseenBytes > 0) this.#wakeWriter(writer)
    }
  }

  #wakeWriter(writer: number): void {
    const channel = this.#channels[writer] as Channel
    channel.unseenBytes = 0
    channel.end.noteCpu(currentCpu())
    this.#link.memory.cell(writer).wake()
  }

  /** Takes what is in the completion rings. True if there was anything, the death of a writer included. */
  poll(handler: AppendHandler): boolean {
    let found = false
    for (let writer = 0; writer < this.#channels.length; writer++) {
      const channel = this.#channels[writer] as Channel
      if (takeCompletions(channel, handler)) found = true
      if (!channel.end.dead || channel.reattaching) continue
      takeCompletions(channel, handler) // what it answered before it died
      this.#reattach(writer, channel, handler)
      found = true
    }
    return found
  }

  #reattach(writer: number, channel: Channel, handler: AppendHandler): void {
    handler.writerDied(writer)
    channel.underWay = 0
    channel.reattaching = true
    this.#link.reattachProducer(this.#producerId, writer).then(
      buffer => {
        channel.end = new ProducerEnd(buffer)
        channel.reattaching = false
        handler.reattached(writer)
      },
      () => {
        // The writer is not back yet, or the engine is closed: the next poll asks again, and deadlines go on running.
        channel.reattaching = false
      },
    )
  }

  /** Lets the writers go and unmaps the slabs. Nothing in them is looked at afterwards. */
  async detach(): Promise<void> {
    try {
      await this.#link.detachProducer(this.#producerId)
    } catch (error) {
      // A writer may still look at the slabs. The broker unmaps them when it finds that this thread is gone.
      if (this.#link.isUnanswered(error)) return
      throw error
    }
    this.#mapping.release()
  }
}

function takeCompletions(channel: Channel, handler: AppendHandler): boolean {
  const { completions } = channel.end
  let at = completions.peek()
  if (at === -1) return false
  const { words } = completions
  for (; at !== -1; at = completions.peek()) {
    const id = words[at + COMPLETION.id] as number
    const status = words[at + COMPLETION.status] as number
    const high = words[at + COMPLETION.baseOffsetHigh] as number
    const baseOffset = high * 0x1_0000_0000 + ((words[at + COMPLETION.baseOffsetLow] as number) >>> 0)
    const detail = words[at + COMPLETION.detail] as number
    completions.release()
    channel.underWay -= 1
    handler.completed(id, status, baseOffset, detail)
  }
  return true
}
