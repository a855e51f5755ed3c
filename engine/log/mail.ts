/**
 * What the broker's thread and its worker loops say to each other, besides the rings: rare things, as structured clones.
 * Each message is handled by every kind of thread that it concerns; `reply` asks for an answer.
 */
import type { ErrorData } from '../base/errors.ts'
import type { EngineMemoryHandle } from '../memory/engine-memory.ts'
import type { SlabArenaHandle } from '../memory/slab-arena.ts'
import type { SwapOrder } from './compaction.ts'
import type { PartitionState } from './partition-state.ts'
import type { SegmentInfo } from './recovery-types.ts'
import type { TopicConfig } from './topic-config.ts'

interface Asked {
  /** Number to answer under; absent when no answer is wanted. */
  readonly reply?: number
}

/** A producer that a writer is to serve. */
export interface ProducerAttachment {
  readonly producerId: number
  readonly channel: SharedArrayBuffer
  readonly arena: SlabArenaHandle
  /** One wake cell, on which the producer parks. */
  readonly cell: SharedArrayBuffer
}

/** What services know of a partition. */
export interface ServedPartition {
  readonly slot: number
  readonly slotGeneration: number
  readonly directory: string
  readonly indexIntervalBytes: number
  readonly indexBytesMax: number
}

/** What a writer that died had open: the flusher closes and unmaps it. */
export interface LeftOpen {
  /** -1 when it rested. */
  readonly fd: number
  readonly address: number
  readonly mappedBytes: number
}

export type Mail = Asked &
  /** Answers with an error, or none, for each of them. */
  (
    | { readonly kind: 'adopt'; readonly states: readonly PartitionState[] }
    | { readonly kind: 'serve'; readonly partitions: readonly ServedPartition[] }
    /** Writer: stop and describe the partition. Services: forget it. */
    | { readonly kind: 'detach'; readonly slot: number; readonly cut: boolean }
    | { readonly kind: 'attach'; readonly attachment: ProducerAttachment }
    | { readonly kind: 'detach-producer'; readonly producerId: number }
    | { readonly kind: 'configure'; readonly slot: number; readonly config: TopicConfig }
    | { readonly kind: 'retention'; readonly nowMs: number }
    /** Put a compacted segment in the place of those that it was made from. Answers whether that was possible now. */
    | {
        readonly kind: 'swap-segments'
        readonly slot: number
        readonly order: SwapOrder
        readonly cleanedOffset: number
      }
    /** Raise the log start. What lies below is removed when that is stored: `remove-below-start`. */
    | { readonly kind: 'delete-records'; readonly slot: number; readonly offset: number }
    | { readonly kind: 'remove-below-start'; readonly slot: number }
    /** Answers with the idempotent producers that the partition knows, as in a snapshot of them. */
    | { readonly kind: 'producers'; readonly slot: number }
    /** Append under this leader epoch from now on. Answers where it begins. */
    | { readonly kind: 'begin-epoch'; readonly slot: number; readonly leaderEpoch: number }
    /** The role of a replica, or what the brokers have agreed on, has changed: see the control block. */
    | { readonly kind: 'replicate'; readonly slots: readonly number[] }
    /** The last leader epoch of which a follower has a record. */
    | { readonly kind: 'last-epoch'; readonly slot: number; readonly leaderEpoch: number }
    /** Service: carry out what writer `writer` still ordered before it died, then serve its successor's ring. */
    | {
        readonly kind: 'rings'
        readonly writer: number
        readonly ring: SharedArrayBuffer
        readonly left: readonly LeftOpen[]
      }
    /** Writer: end as if by a crash, because a service died with an order of this writer in its hands. */
    | { readonly kind: 'abandon'; readonly service: string }
    /**
     * Writer: drain, flush everything, then answer. Flusher: flush together what comes from now on. Indexer: index everything,
     * close the files, then answer.
     */
    | { readonly kind: 'settle' }
  )

export type WorkerEvent =
  | { readonly kind: 'answer'; readonly reply: number; readonly value?: unknown; readonly error?: ErrorData }
  | {
      readonly kind: 'partition-failed'
      readonly slot: number
      readonly slotGeneration: number
      readonly error: ErrorData
    }
  | { readonly kind: 'warning'; readonly error: ErrorData }

/** How a detached or closed partition stood. */
export interface DetachedPartition {
  readonly slot: number
  readonly slotGeneration: number
  readonly segments: readonly SegmentInfo[]
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly flushedOffset: number
  readonly leaderEpoch: number
  /** Idempotent producers that are known. */
  readonly producers: number
}

/** What every worker loop is started with. */
export interface LoopStart {
  readonly memory: EngineMemoryHandle
  readonly port: unknown
  /** Number of the thread in the engine's memory. */
  readonly thread: number
}

export interface WriterStart extends LoopStart {
  /** Which of `writers` equal shares of the segment table it owns. */
  readonly writers: number
  readonly flusherRing: SharedArrayBuffer
  readonly janitorRing: SharedArrayBuffer
  /** `producer.id.expiration.ms`. */
  readonly producerIdExpirationMs: number
}

export interface ServiceStart extends LoopStart {
  /** A ring to each writer, by the writer's number. */
  readonly rings: readonly SharedArrayBuffer[]
}
