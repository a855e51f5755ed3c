/**
 * Acknowledgements of one consumer on their way to the broker's thread: those of one turn, and all that come while a
 * request is under way, share the next. Neighbours of the same kind go as one range; when such a range is refused each
 * is tried by itself, since one that was lost does not speak for the others.
 */
import { MillraceError } from '../engine/base/errors.ts'
import type { ShareAcknowledgeRequest, ShareAcknowledgeResult } from '../engine/group/share/share-calls.ts'
import type { Acknowledgement } from '../engine/group/share/share-types.ts'

export type SendAcknowledgements = (
  partitions: ShareAcknowledgeRequest['partitions'],
) => Promise<ShareAcknowledgeResult>

/** One acknowledgement and whoever waits for it. A class, since there is one for each job. */
class Pending {
  readonly partition: number
  readonly acknowledgement: Acknowledgement
  resolve!: () => void
  reject!: (error: unknown) => void

  constructor(partition: number, acknowledgement: Acknowledgement) {
    this.partition = partition
    this.acknowledgement = acknowledgement
  }

  promise(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}

/** Neighbours of the same kind: the first one's acknowledgement, up to `lastOffset`. */
interface Merged {
  readonly acknowledgement: Acknowledgement
  lastOffset: number
  readonly members: Pending[]
}

export class QueueAcks {
  readonly #send: SendAcknowledgements
  #pending: Pending[] = []
  #running: Promise<void> | undefined

  constructor(send: SendAcknowledgements) {
    this.#send = send
  }

  /** Resolves when it is stored. @throws INVALID_RECORD_STATE when the consumer does not hold all of it; as `ShareCoordinator.acknowledge` */
  add(partition: number, acknowledgement: Acknowledgement): Promise<void> {
    const pending = new Pending(partition, acknowledgement)
    const promise = pending.promise()
    this.#pending.push(pending)
    this.#running ??= this.#run()
    return promise
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    await undefined // what else is acknowledged in this turn comes along
    while (this.#pending.length > 0) await this.#round(merge(this.#pending.splice(0)))
    this.#running = undefined
  }

  async #round(byPartition: Map<number, Merged[]>): Promise<void> {
    try {
      const outcome = await this.#send(request(byPartition))
      const refused = settle(byPartition, outcome)
      if (refused.size > 0) settle(refused, await this.#send(request(refused)))
    } catch (error) {
      for (const merged of byPartition.values())
        for (const { members } of merged) for (const { reject } of members) reject(error)
    }
  }
}

function request(byPartition: Map<number, Merged[]>): ShareAcknowledgeRequest['partitions'] {
  return [...byPartition].map(([partition, merged]) => ({
    partition,
    acknowledgements: merged.map(({ acknowledgement, lastOffset }) => ({ ...acknowledgement, lastOffset })),
  }))
}

/** Settles what was answered; returns the ranges of several that were refused, each by itself. */
function settle(byPartition: Map<number, Merged[]>, outcome: ShareAcknowledgeResult): Map<number, Merged[]> {
  const again = new Map<number, Merged[]>()
  ;[...byPartition].forEach(([partition, merged], index) => {
    const singly: Merged[] = []
    merged.forEach(({ members, acknowledgement }, at) => {
      const applied = outcome[index]?.[at] === true
      if (applied) for (const { resolve } of members) resolve()
      else if (members.length > 1) singly.push(...members.map(alone))
      else
        members[0]?.reject(
          new MillraceError('INVALID_RECORD_STATE', { partition, offset: acknowledgement.firstOffset }),
        )
    })
    if (singly.length > 0) again.set(partition, singly)
  })
  return again
}

/** By partition and offset, for one offset in the order in which they came; neighbours that follow each other are one. */
function merge(pending: Pending[]): Map<number, Merged[]> {
  const byPartition = new Map<number, Merged[]>()
  let merged: Merged[] = []
  let partition = -1
  for (const one of pending.sort((a, b) => a.acknowledgement.firstOffset - b.acknowledgement.firstOffset)) {
    if (one.partition !== partition) {
      partition = one.partition
      merged = byPartition.get(partition) ?? []
      byPartition.set(partition, merged)
    }
    const last = merged.at(-1)
    if (last !== undefined && continues(last, one.acknowledgement)) {
      last.lastOffset = one.acknowledgement.lastOffset
      last.members.push(one)
    } else merged.push(alone(one))
  }
  return byPartition
}

function alone(one: Pending): Merged {
  const { acknowledgement } = one
  return { acknowledgement, lastOffset: acknowledgement.lastOffset, members: [one] }
}

function continues({ acknowledgement: a, lastOffset }: Merged, b: Acknowledgement): boolean {
  if (lastOffset + 1 !== b.firstOffset || a.type !== b.type || a.reason !== b.reason) return false
  return a.notBeforeMs === b.notBeforeMs && a.undelivered === b.undelivered
}
