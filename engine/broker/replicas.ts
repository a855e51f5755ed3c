/**
 * Partitions as replicas: the roles that the cluster gives them, and how far their records are agreed on. Whoever decides that is
 * `engine/cluster`; here it is put where the writers see it (control block), and they are told. Used by the broker's thread.
 */
import type { EpochEntry } from '../log/epoch-checkpoint-file.ts'
import { withEpoch } from '../log/leader-epochs.ts'
import { type ControlBlock, ROLE, SLOT } from '../memory/control-block.ts'
import type { EngineMemory } from '../memory/engine-memory.ts'
import { EpochWriting, type EpochWritingOptions } from './epoch-writing.ts'
import type { HostedPartition } from './hosted-partition.ts'
import type { Threads } from './threads.ts'

export class Replicas {
  readonly #control: ControlBlock
  readonly #memory: EngineMemory
  readonly #threads: Threads
  readonly #epochs: EpochWriting
  /** Slots to tell of, by writer. */
  #untold = new Map<number, Set<number>>()

  /** @param apart does work while no operation on topics is under way */
  constructor(memory: EngineMemory, threads: Threads, apart: EpochWritingOptions['apart'] = work => work()) {
    this.#memory = memory
    this.#control = memory.control
    this.#threads = threads
    const write: EpochWritingOptions['write'] = files => threads.runJob({ kind: 'write-epochs', files })
    this.#epochs = new EpochWriting({ control: memory.control, write, apart })
  }

  /** Until when this broker may answer as a leader, milliseconds on CLOCK_BOOTTIME. */
  set leaseEndMs(ms: number) {
    this.#memory.leaseEndMs = ms
  }

  /** Before its writer has it: a replica takes nothing from producers until it leads, and shows what was agreed on before. */
  static prepare(control: ControlBlock, slot: number, highWatermark: number): void {
    control.set(slot, SLOT.committedOffset, highWatermark)
    Replicas.demote(control, slot)
  }

  static demote(control: ControlBlock, slot: number): void {
    control.set(slot, SLOT.role, ROLE.follower)
  }

  /**
   * Takes records from producers from now on, under a leader epoch that begins at the end of the log. Nothing of an earlier leader may
   * be under way.
   * @returns offset at which the epoch begins
   */
  async lead(partition: HostedPartition, leaderEpoch: number): Promise<number> {
    const { slot, epochs } = partition
    if (leaderEpoch > this.#control.get(slot, SLOT.leaderEpoch)) {
      const startOffset = await this.#threads
        .writer(partition.writer)
        .request<number>({ kind: 'begin-epoch', slot, leaderEpoch })
      this.noteEpoch(partition, leaderEpoch, startOffset)
    }
    this.#forgetBeyondEnd(slot)
    this.#control.set(slot, SLOT.role, ROLE.leader)
    this.#tell(partition)
    return partition.epochs.at(-1)?.startOffset ?? epochs.at(-1)?.startOffset ?? 0
  }

  /** Takes records from a leader only. When this resolves no producer's record is appended any more, and all are answered. */
  async follow(partition: HostedPartition): Promise<void> {
    const { slot, writer } = partition
    Replicas.demote(this.#control, slot)
    if (partition.failure !== undefined) return // nobody takes anything
    await this.#threads.writer(writer).request({ kind: 'replicate', slots: [slot] })
    this.#forgetBeyondEnd(slot)
    const end = this.#control.get(slot, SLOT.logEndOffset)
    const kept = partition.epochs.filter(({ startOffset }) => startOffset < end)
    const leaderEpoch = kept.at(-1)?.epoch ?? -1
    if (leaderEpoch === this.#control.get(slot, SLOT.leaderEpoch)) return
    // It began an epoch and has no record of it: records of earlier epochs may come yet.
    if (kept.length < partition.epochs.length) this.#setEpochs(partition, kept)
    await this.#threads.writer(writer).request({ kind: 'last-epoch', slot, leaderEpoch })
  }

  /**
   * What was agreed on beyond the end of this log is of records that it has not, or lost, and says nothing of those that come there: they would
   * be shown and acknowledged before anybody else has them.
   */
  #forgetBeyondEnd(slot: number): void {
    const end = this.#control.get(slot, SLOT.logEndOffset)
    if (this.#control.get(slot, SLOT.committedOffset) > end) this.#control.set(slot, SLOT.committedOffset, end)
  }

  /** Leader epoch of the last record that there is, -1 for none. */
  lastEpoch({ slot, epochs }: HostedPartition): number {
    const end = this.#control.get(slot, SLOT.logEndOffset)
    return epochs.findLast(({ startOffset }) => startOffset < end)?.epoch ?? -1
  }

  /** What lies below is on every replica that may lead next: it is shown, and acknowledged. Lower than before changes nothing. */
  commit(partition: HostedPartition, offset: number): void {
    if (offset <= this.#control.get(partition.slot, SLOT.committedOffset)) return
    this.#control.set(partition.slot, SLOT.committedOffset, offset)
    this.#tell(partition)
  }

  /** Whether fewer replicas are in sync than `min.insync.replicas` asks for: then acks=all is refused. */
  setTooFewInSync({ slot }: HostedPartition, isShort: boolean): void {
    this.#control.set(slot, SLOT.tooFewInSync, isShort ? 1 : 0)
  }

  /** A leader epoch begins in the log, or is about to. */
  noteEpoch(partition: HostedPartition, leaderEpoch: number, startOffset: number): void {
    this.#setEpochs(partition, withEpoch(partition.epochs, leaderEpoch, startOffset))
  }

  #setEpochs(partition: HostedPartition, epochs: readonly EpochEntry[]): void {
    partition.epochs = epochs
    this.#epochs.add(partition)
  }

  /** Writes what is not written yet, before the engine closes. */
  settle(): Promise<void> {
    return this.#epochs.settle()
  }

  /** One mail to each writer for all of a turn of the event loop. */
  #tell({ writer, slot }: HostedPartition): void {
    if (this.#untold.size === 0) queueMicrotask(() => this.#tellAll())
    const slots = this.#untold.get(writer) ?? new Set()
    this.#untold.set(writer, slots.add(slot))
  }

  #tellAll(): void {
    const untold = this.#untold
    this.#untold = new Map()
    for (const [writer, slots] of untold) this.#threads.writer(writer).post({ kind: 'replicate', slots: [...slots] })
  }
}
