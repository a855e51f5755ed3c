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

interface Pending extends PromiseWithResolvers<void> {
  readonly partition: number
  readonly acknowledgement: Acknowledgement
}

interface Merged {
  acknowledgement: Acknowledgement
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
    const pending = { ...Promise.withResolvers<void>(), partition, acknowledgement }
    this.#pending.push(pending)
    this.#running ??= this.#run()
    return pending.promise
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
    acknowledgements: merged.map(({ acknowledgement }) => acknowledgement),
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
      else if (members.length > 1)
        singly.push(...members.map(one => ({ acknowledgement: one.acknowledgement, members: [one] })))
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
function merge(pending: readonly Pending[]): Map<number, Merged[]> {
  const byPartition = new Map<number, Merged[]>()
  const sorted = pending.toSorted((a, b) => a.acknowledgement.firstOffset - b.acknowledgement.firstOffset)
  for (const one of sorted) {
    const merged = byPartition.get(one.partition)
    const last = merged?.at(-1)
    if (merged === undefined) byPartition.set(one.partition, [{ acknowledgement: one.acknowledgement, members: [one] }])
    else if (last !== undefined && continues(last.acknowledgement, one.acknowledgement)) {
      last.acknowledgement = { ...last.acknowledgement, lastOffset: one.acknowledgement.lastOffset }
      last.members.push(one)
    } else merged.push({ acknowledgement: one.acknowledgement, members: [one] })
  }
  return byPartition
}

function continues(a: Acknowledgement, b: Acknowledgement): boolean {
  const isAlike = a.type === b.type && a.notBeforeMs === b.notBeforeMs && a.undelivered === b.undelivered
  return isAlike && a.reason === b.reason && a.lastOffset + 1 === b.firstOffset
}
