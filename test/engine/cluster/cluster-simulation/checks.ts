/**
 * What has to hold at every moment of a simulation, whoever leads. It knows everything: the logs on all disks, what the store really has, and what was
 * shown or acknowledged to anybody.
 */

import { type ClusterPartition, idOf, NO_LEADER, readPartition } from '../../../../engine/cluster/cluster-state.ts'
import type { Entry } from '../../../../engine/cluster/metadata-store.ts'
import type { Disk, StoredRecord } from './model-log.ts'

export interface Surroundings {
  readonly minInSync: number
  readonly isUnclean: boolean
  /** The producer writes with acks=1, and what it was told of may be gone. */
  isLeaderOnly(producerId: number): boolean
  /** As the store has it now. */
  partition(partition: number): ClusterPartition
  disk(brokerId: number, partition: number): Disk | undefined
  /** Version of the broker's registration in the store; undefined: it has none. */
  registeredEpoch(brokerId: number): number | undefined
  /** The broker lost records that were not flushed, or its directory, and has not been registered since. */
  hasLost(brokerId: number): boolean
}

interface Acknowledged {
  readonly offset: number
  readonly id: number
}

class PartitionChecks {
  /** Somebody led who was not in sync, as the topic asks: what was shown or acknowledged may be gone. */
  wasUnclean = false
  /** By offset: what anybody was shown. */
  readonly committed: StoredRecord[] = []
  readonly acknowledged: Acknowledged[] = []
  /** Of a leader that was not registered when the next epoch began. */
  endedEpoch = -1
  readonly leaderOfEpoch = new Map<number, number>()
  /** Brokers that have, or had, a record. */
  readonly holders = new Map<number, Set<number>>()
  readonly lastSequence = new Map<number, number>()
}

export class Checks {
  readonly counts = { committed: 0, acknowledged: 0, unclean: 0, forgiven: 0 }
  readonly #surroundings: Surroundings
  readonly #partitions: PartitionChecks[]

  constructor(surroundings: Surroundings, partitions: number) {
    this.#surroundings = surroundings
    this.#partitions = Array.from({ length: partitions }, () => new PartitionChecks())
  }

  /** Up to here records were shown. */
  hasShown(partition: number, endOffset: number): boolean {
    const { committed, wasUnclean } = this.#of(partition)
    return wasUnclean || this.#isLossy || committed.length >= endOffset
  }

  appended(brokerId: number, partition: number, { id, epoch }: StoredRecord, isReplica: boolean): void {
    const { leaderOfEpoch, holders, endedEpoch } = this.#of(partition)
    const holding = holders.get(id) ?? new Set()
    holders.set(id, holding.add(brokerId))
    if (isReplica) return
    demand(epoch > endedEpoch, () => `${brokerId} appends ${id} under epoch ${epoch}, which is over`)
    const leader = leaderOfEpoch.get(epoch) ?? brokerId
    demand(leader === brokerId, () => `${leader} and ${brokerId} lead partition ${partition} under epoch ${epoch}`)
    leaderOfEpoch.set(epoch, brokerId)
  }

  /** What a broker was shown before its start. After a loss that was told it may be what is gone. */
  shownBefore(brokerId: number, partition: number, to: number): void {
    const { committed, wasUnclean } = this.#of(partition)
    const { length } = committed
    if (this.#isLossy || wasUnclean) return
    demand(to <= length, () => `${brokerId} shows ${to} of partition ${partition} as it starts`)
    this.shown(brokerId, partition, 0, to)
  }

  /** What a consumer is shown stays, and is in the same place on every broker that shows it. */
  shown(brokerId: number, partition: number, from: number, to: number): void {
    const { committed, wasUnclean } = this.#of(partition)
    if (wasUnclean) return
    // Who led before a loss that was told, and does not know, may show what is gone.
    if (this.#isLossy && this.#surroundings.partition(partition).leader !== brokerId) return
    const { records } = this.#disk(brokerId, partition)
    // It may have been shown to it before it led, which was passed over then.
    for (let offset = Math.min(from, committed.length); offset < to; offset++) {
      const record = records[offset]
      demand(record !== undefined, () => `${brokerId} shows ${offset} of partition ${partition}, and has it not`)
      const before = committed[offset]
      if (before === undefined) this.#commit(brokerId, partition, offset, record as StoredRecord)
      else
        demand(
          isSame(record, before),
          () => `${brokerId} shows ${named(record)} at ${offset}, where ${named(before)} was shown`,
        )
    }
  }

  #commit(brokerId: number, partition: number, offset: number, record: StoredRecord): void {
    const { committed, lastSequence } = this.#of(partition)
    const { producerId, sequence } = record
    demand(offset === committed.length, () => `${brokerId} shows ${offset}, and nobody what lies below`)
    const last = lastSequence.get(producerId) ?? -1
    // Where nothing of a producer is left it is taken as it comes.
    const mayMiss = this.#isLossy || this.#surroundings.isLeaderOnly(producerId)
    demand(
      sequence === last + 1 || (mayMiss && last === -1),
      () => `${sequence} of producer ${producerId} at ${offset} follows ${last}`,
    )
    lastSequence.set(producerId, sequence)
    committed[offset] = record
    this.counts.committed++
    for (const id of this.#surroundings.partition(partition).isr) {
      if (!this.#surroundings.hasLost(id)) this.#demandHas(id, partition, offset, `${brokerId} shows it`)
    }
  }

  /** @param leaderEpoch under which the broker leads */
  acknowledged(
    brokerId: number,
    partition: number,
    offset: number,
    { id, producerId }: StoredRecord,
    leaderEpoch: number,
  ): void {
    const { committed, acknowledged, holders, wasUnclean, endedEpoch } = this.#of(partition)
    demand(leaderEpoch > endedEpoch, () => `${brokerId} acknowledges ${id} under epoch ${leaderEpoch}, which is over`)
    const epoch = this.#surroundings.registeredEpoch(brokerId)
    demand(epoch !== undefined, () => `${brokerId} acknowledges ${id}, and its lease is over`)
    if (this.#surroundings.isLeaderOnly(producerId)) return
    this.shown(brokerId, partition, Math.min(committed.length, offset), offset + 1) // that may follow a moment later
    demand(
      wasUnclean || committed[offset]?.id === id,
      () => `${id} is acknowledged at ${offset}, where ${named(committed[offset])} is`,
    )
    const count = holders.get(id)?.size ?? 0
    demand(count >= this.#surroundings.minInSync, () => `${id} is acknowledged, and only ${count} have or had it`)
    acknowledged.push({ offset, id })
    this.counts.acknowledged++
  }

  /** A log is shorter now. */
  cut(brokerId: number, partition: number, to: number): void {
    const { committed, wasUnclean } = this.#of(partition)
    if (wasUnclean) return
    // Who led before a loss that was told, and does not know, may show what is gone.
    if (this.#isLossy && this.#surroundings.partition(partition).leader !== brokerId) return
    const { records } = this.#disk(brokerId, partition)
    for (let offset = to; offset < Math.min(committed.length, records.length); offset++) {
      if (this.#surroundings.hasLost(brokerId) || this.#isLossy) return
      const isShown = isSame(records[offset], committed[offset])
      demand(!isShown, () => `${brokerId} cuts partition ${partition} to ${to}, below what was shown`)
    }
  }

  /** The store has another state of a partition. */
  stored(entry: Entry, before: string | undefined): void {
    const partition = idOf(entry.key)
    const now = readPartition(entry)
    demand(now.isr.length > 0, () => `nobody is in sync with partition ${partition}`)
    demand(
      now.isr.every(id => now.replicas.includes(id)),
      () => `in sync is who is no replica: ${entry.value}`,
    )
    if (before === undefined) return
    const then = readPartition({ ...entry, value: before })
    demand(now.leaderEpoch >= then.leaderEpoch, () => `the leader epoch goes back: ${before} to ${entry.value}`)
    const wasThere = then.leader === NO_LEADER || this.#surroundings.registeredEpoch(then.leader) !== undefined
    if (now.leaderEpoch > then.leaderEpoch && !wasThere) this.#of(partition).endedEpoch = then.leaderEpoch
    const isSameLeader = now.leader === then.leader
    const isSameEpoch = now.leaderEpoch === then.leaderEpoch
    demand(isSameLeader === isSameEpoch, () => `leader and epoch change together: ${before} to ${entry.value}`)
    if (now.leader !== NO_LEADER && !isSameLeader && !then.isr.includes(now.leader)) {
      demand(this.#surroundings.isUnclean, () => `${now.leader} leads and was not in sync: ${before} to ${entry.value}`)
      this.counts.unclean++
      this.#of(partition).wasUnclean = true
    }
    const { committed, wasUnclean } = this.#of(partition)
    const length = wasUnclean ? 0 : committed.length
    for (const id of now.isr) {
      if (then.isr.includes(id) || this.#surroundings.hasLost(id)) continue
      for (let offset = 0; offset < length; offset++) this.#demandHas(id, partition, offset, 'it is in sync now')
    }
  }

  /** A broker told that it lost what it alone had: what is left of that is all that counts. */
  reportedLoss(brokerId: number, partition: number): void {
    const { isr } = this.#surroundings.partition(partition)
    if (this.#of(partition).wasUnclean || isr.length !== 1 || isr[0] !== brokerId) return
    if (this.#surroundings.hasLost(brokerId)) this.#forgive(partition, brokerId)
    else
      for (const offset of this.#of(partition).committed.keys())
        this.#demandHas(brokerId, partition, offset, 'it lost nothing')
  }

  /** Everything that was acknowledged is there, once, in all of these logs. */
  atRest(partition: number, brokerIds: readonly number[]): void {
    const { committed, acknowledged, wasUnclean } = this.#of(partition)
    if (wasUnclean) {
      committed.splice(0, committed.length, ...this.#disk(brokerIds[0] as number, partition).records)
      acknowledged.length = 0
    }
    if (this.#isLossy) committed.push(...this.#disk(brokerIds[0] as number, partition).records.slice(committed.length))
    for (const brokerId of brokerIds) {
      const { records } = this.#disk(brokerId, partition)
      demand(records.length === committed.length, () => `${brokerId} has ${records.length} of ${committed.length}`)
      for (let offset = 0; offset < committed.length; offset++) this.#demandHas(brokerId, partition, offset, 'all rest')
      for (const { offset, id } of acknowledged) {
        demand(records[offset]?.id === id, () => `${id} was acknowledged at ${offset} and is gone from ${brokerId}`)
      }
    }
  }

  /** What was shown and this broker has not may be gone. */
  #forgive(partition: number, brokerId: number): void {
    const { committed, acknowledged, lastSequence } = this.#of(partition)
    const { records } = this.#disk(brokerId, partition)
    let left = 0
    while (left < committed.length && isSame(records[left], committed[left])) left++
    this.counts.forgiven += committed.length - left
    committed.length = left
    acknowledged.splice(0, acknowledged.length, ...acknowledged.filter(({ offset }) => offset < left))
    lastSequence.clear()
    for (const { producerId, sequence } of committed) lastSequence.set(producerId, sequence)
  }

  #demandHas(brokerId: number, partition: number, offset: number, why: string): void {
    const record = this.#of(partition).committed[offset]
    const found = this.#surroundings.disk(brokerId, partition)?.records[offset]
    demand(
      isSame(found, record),
      () => `${brokerId} has ${named(found)} at ${offset} of partition ${partition} and not ${named(record)}: ${why}`,
    )
  }

  get #isLossy(): boolean {
    return this.counts.forgiven > 0
  }

  #of(partition: number): PartitionChecks {
    return this.#partitions[partition] as PartitionChecks
  }

  #disk(brokerId: number, partition: number): Disk {
    return this.#surroundings.disk(brokerId, partition) as Disk
  }
}

/** A record that was sent again may stand in the same place under another epoch. */
const isSame = (a: StoredRecord | undefined, b: StoredRecord | undefined): boolean =>
  a?.id === b?.id && a?.epoch === b?.epoch

const named = (record: StoredRecord | undefined): string =>
  record === undefined ? 'nothing' : `${record.id}@${record.epoch}`

function demand(isSo: boolean, what: () => string): void {
  if (!isSo) throw new Error(what())
}
