/**
 * Brings leader epochs to the files of their partitions, some time after they began: a broker that fails over begins hundreds at once, and each file takes
 * two flushes, which is what a job's thread is for. Broker's thread.
 *
 * Nothing waits for these files. After a crash before they are written the log itself tells, once it has a record of the epoch.
 */
import type { EpochFile } from '../log/epoch-checkpoint-file.ts'
import { type ControlBlock, SLOT } from '../memory/control-block.ts'
import type { HostedPartition } from './hosted-partition.ts'

const AFTER_MS = 1_000
/** Files of one job. Operations on topics wait for it. */
const TOGETHER_MAX = 512

export interface EpochWritingOptions {
  readonly control: ControlBlock
  /** Writes files, in another thread. */
  readonly write: (files: readonly EpochFile[]) => Promise<unknown>
  /** Does work while no operation on topics is under way: a folder is given to another topic, or its log is cut, before or behind that. */
  readonly apart: <T>(work: () => Promise<T>) => Promise<T>
}

export class EpochWriting {
  readonly #options: EpochWritingOptions
  readonly #unwritten = new Set<HostedPartition>()
  #timer: NodeJS.Timeout | undefined
  #isSettled = false

  constructor(options: EpochWritingOptions) {
    this.#options = options
  }

  /** Epochs of a partition are others now. */
  add(partition: HostedPartition): void {
    this.#unwritten.add(partition)
    if (!this.#isSettled) this.#timer ??= setTimeout(() => void this.#run(), AFTER_MS).unref()
  }

  async #run(): Promise<void> {
    try {
      while (this.#unwritten.size > 0) await this.#options.apart(() => this.#writeSome())
    } catch {
      // The engine closes, and `settle` writes what is left.
    }
    this.#timer = undefined
  }

  /** Writes what is not written yet, before the engine closes: no operation on topics is under way any more. */
  async settle(): Promise<void> {
    this.#isSettled = true
    clearTimeout(this.#timer)
    while (this.#unwritten.size > 0) await this.#writeSome()
  }

  async #writeSome(): Promise<void> {
    const some = [...this.#unwritten].slice(0, TOGETHER_MAX)
    for (const partition of some) this.#unwritten.delete(partition)
    const files = some
      .filter(partition => this.#isThere(partition))
      .map(({ directory, epochs }): EpochFile => ({ directory, entries: epochs }))
    try {
      if (files.length > 0) await this.#options.write(files)
    } catch {
      // Recovery makes them from the log.
    }
  }

  /** A topic that is gone may have a successor of the same name, in the same folder; what is being recovered gets its file from that. */
  #isThere({ slot, slotGeneration, failure }: HostedPartition): boolean {
    return failure === undefined && this.#options.control.get(slot, SLOT.slotGeneration) === slotGeneration
  }
}
