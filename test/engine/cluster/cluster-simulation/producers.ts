/** Idempotent producers of a simulation: one batch at a time to each partition, sent again until it is acknowledged, to whoever leads by then. */
import { isMillraceError } from '../../../../engine/base/errors.ts'
import { encodeBatch } from '../../../../engine/format/record-batch.ts'
import { REQUEST_FLAG } from '../../../../engine/memory/append-channel.ts'
import { Process } from './virtual-time.ts'
import type { World } from './world.ts'

const ANSWER_MS = 400
const AGAIN_MS = 60
/** Of producers, those that write with acks=1. */
const LEADER_ONLY_RATE = 0.15

export class SimulatedProducer {
  /** Of what it has begun and was not told of. */
  isOpen = false
  /** Nothing new is begun. */
  isOver = false
  sent = 0
  readonly #world: World
  readonly #partition: number
  readonly #process: Process
  readonly #restMs: number
  readonly #isLeaderOnly: boolean
  #producerId = 0
  #sequence = 0
  #leader = 0

  constructor(world: World, partition: number) {
    this.#world = world
    this.#partition = partition
    this.#process = new Process('p', '')
    this.#restMs = world.random.pick([5, 30, 120])
    this.#isLeaderOnly = world.random.chance(LEADER_ONLY_RATE)
    this.#isKnownAnew()
    world.time.after(0, this.#process, () => this.#next())
  }

  /** As after an epoch of producers: the broker knows nothing of what comes. */
  #isKnownAnew(): void {
    this.#producerId = ++this.#world.ids
    if (this.#isLeaderOnly) this.#world.leaderOnly.add(this.#producerId)
    this.#sequence = 0
  }

  #next(): void {
    const { time } = this.#world
    this.isOpen = !this.isOver
    if (this.isOver) {
      time.after(AGAIN_MS, this.#process, () => this.#next())
      return
    }
    this.sent++
    this.#send(++this.#world.ids)
  }

  #batch(id: number): Uint8Array {
    const options = { producerId: this.#producerId, producerEpoch: 0, baseSequence: this.#sequence }
    return encodeBatch([{ timestamp: id, value: null }], options).bytes
  }

  #send(id: number): void {
    const { time, random } = this.#world
    const sequence = this.#sequence
    const batch = this.#batch(id)
    let isAnswered = false
    const answered = (error: unknown): void => {
      if (isAnswered || this.#sequence !== sequence) return
      isAnswered = true
      timer.isCancelled = true
      this.#answered(id, error)
    }
    const leader = this.#leaderNow()
    const member = this.#world.members.get(leader)
    const timer = time.after(ANSWER_MS, this.#process, () => answered('late'))
    if (member === undefined || random.chance(this.#world.lossRate)) return
    const { process, broker } = member
    time.after(random.below(random.chance(this.#world.lateRate) ? 2_000 : 4), process, () => {
      if (!broker.data.disks.has(this.#partition)) return
      broker.append(this.#partition, batch, this.#isLeaderOnly ? REQUEST_FLAG.leaderOnly : 0).then(
        () => this.#answer(() => answered(undefined)),
        error => this.#answer(() => answered(error)),
      )
    })
  }

  #answer(tell: () => void): void {
    const { time, random, lossRate } = this.#world
    if (!random.chance(lossRate)) time.after(random.below(4), this.#process, tell)
  }

  #answered(id: number, error: unknown): void {
    const { time, random } = this.#world
    if (error === undefined) {
      this.#sequence++
      this.isOpen = false
      time.after(random.below(this.#restMs), this.#process, () => this.#next())
      return
    }
    // What was acknowledged with acks=1, or may be gone after a loss that was told, is missing in the sequence.
    if (isMillraceError(error, 'OUT_OF_ORDER_SEQUENCE_NUMBER')) this.#isKnownAnew()
    time.after(AGAIN_MS, this.#process, () => this.#send(id))
  }

  /** Mostly right; what some broker's image says, or whom it knew before. */
  #leaderNow(): number {
    const { random, members, partitions } = this.#world
    if (random.chance(0.6)) this.#leader = this.#world.partition(this.#partition % partitions).leader
    else if (random.chance(0.7)) {
      const member = random.pick([...members.values()])
      const state = member?.node?.image.partitions.values().find(({ partition }) => partition === this.#partition)
      if (state !== undefined) this.#leader = state.leader
    }
    return this.#leader
  }
}
