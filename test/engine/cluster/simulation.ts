/**
 * One partition on three brokers as a model: logs are lists, the network delivers late, twice or never, brokers restart, lose power, or go on
 * believing that they lead; the metadata store takes compare-and-swaps, also late ones. What was below a high watermark anywhere has to stay.
 */

import type { Random } from '../../../engine/base/random.ts'
import { type Isr, Leadership } from '../../../engine/cluster/leadership.ts'

interface Entry {
  readonly epoch: number
  readonly id: number
}

interface Fetch {
  readonly fetchId: number
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly leaderEpoch: number
  readonly offset: number
  readonly lastEpoch: number
}

interface Partition {
  readonly leader: number
  readonly leaderEpoch: number
  readonly isr: Isr
}

const LAG_MAX_MS = 250
const IDS = [1, 2, 3]

class Broker {
  readonly brokerId: number
  log: Entry[] = []
  highWatermark = 0
  brokerEpoch = 1
  /** The fetch whose answer it waits for; it takes one answer of that. */
  fetchId = 0
  leadership: Leadership | undefined
  /** What it knows of the store. */
  known: Partition
  registered = new Map<number, number>()

  constructor(brokerId: number, known: Partition) {
    this.brokerId = brokerId
    this.known = known
  }

  get lastEpoch(): number {
    return this.log.at(-1)?.epoch ?? -1
  }

  /** End of the last epoch up to this one, and which that is. */
  endOf(epoch: number): { epoch: number; end: number } {
    let at = this.log.length
    while (at > 0 && (this.log[at - 1] as Entry).epoch > epoch) at--
    return { epoch: this.log[at - 1]?.epoch ?? -1, end: at }
  }

  diverges(offset: number, lastEpoch: number): { epoch: number; end: number } | undefined {
    const found = this.endOf(lastEpoch)
    return offset > found.end || (offset > 0 && found.epoch !== lastEpoch) ? found : undefined
  }
}

export class ReplicationRun {
  readonly #random: Random
  readonly #brokers: Broker[]
  readonly #registered = new Map(IDS.map(id => [id, 1]))
  #partition: Partition = { leader: 1, leaderEpoch: 1, isr: { brokerIds: IDS, version: 1 } }
  /** By offset: what somebody was shown as committed. */
  readonly #committed: number[] = []
  #messages: (() => void)[] = []
  #nowMs = 0
  #ids = 0
  readonly counts = { elections: 0, powerLosses: 0, truncations: 0, shrinks: 0, expansions: 0 }

  constructor(random: Random) {
    this.#random = random
    this.#brokers = IDS.map(id => new Broker(id, this.#partition))
    for (const broker of this.#brokers) this.#learn(broker)
  }

  get committed(): number {
    return this.#committed.length
  }

  step(): void {
    const random = this.#random
    const broker = random.pick(this.#brokers)
    const choice = random.below(100)
    if (choice < 18) this.#append(broker)
    else if (choice < 40) this.#fetch(broker)
    else if (choice < 68) this.#deliver()
    else if (choice < 78) this.#propose(broker)
    else if (choice < 85) this.#learn(broker)
    else if (choice < 87) this.#elect()
    else if (choice < 88) this.#restart(broker, false)
    else if (choice < 89) this.#restart(broker, true)
    else if (choice < 92 && this.#messages.length > 0) this.#messages.splice(random.below(this.#messages.length), 1)
    else this.#nowMs += random.pick([10, 300, 2_000])
  }

  /** Everything arrives and everybody knows: the logs become one. */
  comeToRest(): void {
    for (let round = 0; round < 60; round++) {
      for (const broker of this.#brokers) this.#learn(broker)
      for (const broker of this.#brokers) this.#fetch(broker)
      while (this.#messages.length > 0) this.#deliver()
      for (const broker of this.#brokers) this.#propose(broker)
      while (this.#messages.length > 0) this.#deliver()
      this.#nowMs += 300
    }
    const leader = this.#brokers[this.#partition.leader - 1] as Broker
    const { brokerIds } = this.#partition.isr
    if (brokerIds.length !== IDS.length) throw new Error(`in sync are ${brokerIds} in the end`)
    for (const { brokerId, log } of this.#brokers) {
      if (JSON.stringify(log) !== JSON.stringify(leader.log)) throw new Error(`the log of ${brokerId} is another`)
    }
    if (leader.leadership?.highWatermark !== leader.log.length) throw new Error('not all is committed')
    if (!leader.leadership.knowsItsEnd) throw new Error('the leader does not know its end')
  }

  #append(broker: Broker): void {
    const { leadership } = broker
    if (leadership === undefined) return
    broker.log.push({ epoch: leadership.leaderEpoch, id: ++this.#ids })
    leadership.appended(broker.log.length)
    this.#look(broker)
  }

  #fetch(broker: Broker): void {
    const { leader, leaderEpoch } = broker.known
    if (broker.leadership !== undefined || leader === broker.brokerId) return
    const { brokerId, brokerEpoch, lastEpoch } = broker
    const offset = broker.log.length
    const fetchId = ++broker.fetchId
    const ask = (): void => this.#serve(leader, { fetchId, brokerId, brokerEpoch, leaderEpoch, offset, lastEpoch })
    this.#messages.push(ask)
    if (this.#random.chance(0.05)) this.#messages.push(ask)
  }

  #serve(leaderId: number, fetch: Fetch): void {
    const leader = this.#brokers[leaderId - 1] as Broker
    const { leadership } = leader
    if (leadership === undefined) return
    const divergence = leader.diverges(fetch.offset, fetch.lastEpoch)
    const registeredEpoch = leader.registered.get(fetch.brokerId)
    const isDiverging = divergence !== undefined
    const outcome = leadership.fetched({ ...fetch, registeredEpoch, isDiverging, nowMs: this.#nowMs })
    this.#look(leader)
    if (outcome !== 'taken' && outcome !== 'diverging') return
    const records = isDiverging ? [] : leader.log.slice(fetch.offset, fetch.offset + 3)
    const { highWatermark } = leadership
    this.#messages.push(() => this.#answer(fetch, divergence, records, highWatermark))
  }

  #answer(
    fetch: Fetch,
    divergence: { epoch: number; end: number } | undefined,
    records: readonly Entry[],
    highWatermark: number,
  ): void {
    const broker = this.#brokers[fetch.brokerId - 1] as Broker
    const isLate = broker.known.leaderEpoch !== fetch.leaderEpoch || broker.fetchId !== fetch.fetchId
    if (isLate || broker.leadership !== undefined) return
    broker.fetchId += 1
    if (divergence !== undefined) {
      const keep = Math.min(divergence.end, broker.endOf(divergence.epoch).end)
      broker.log.length = keep
      broker.highWatermark = Math.min(broker.highWatermark, keep)
      this.counts.truncations++
      return
    }
    broker.log.push(...records)
    broker.highWatermark = Math.max(broker.highWatermark, Math.min(highWatermark, broker.log.length))
  }

  #propose(broker: Broker): void {
    const { leadership } = broker
    if (leadership === undefined) return
    const proposal = leadership.propose(this.#nowMs, LAG_MAX_MS) ?? leadership.proposal
    if (proposal === undefined) return
    const { leaderEpoch } = leadership
    this.#messages.push(() => {
      const { isr, leader } = this.#partition
      const isOfNow = proposal.comes.every(
        ({ brokerId, brokerEpoch }) => this.#registered.get(brokerId) === brokerEpoch,
      )
      if (isOfNow && isr.version === proposal.basedOn && this.#partition.leaderEpoch === leaderEpoch) {
        const isShrink = proposal.brokerIds.length < isr.brokerIds.length
        this.counts[isShrink ? 'shrinks' : 'expansions']++
        this.#partition = { leader, leaderEpoch, isr: { brokerIds: proposal.brokerIds, version: isr.version + 1 } }
      } else if (this.#partition.leaderEpoch === leaderEpoch && this.#random.chance(0.7)) {
        this.#messages.push(() => leadership.refused(proposal, isr))
      }
      if (this.#random.chance(0.7)) this.#messages.push(() => this.#learn(broker))
    })
  }

  /** The broker reads the store, and leads, follows, or goes on. */
  #learn(broker: Broker): void {
    const partition = this.#partition
    const isNewEpoch = partition.leaderEpoch !== broker.known.leaderEpoch || broker.leadership === undefined
    broker.known = partition
    broker.registered = new Map(this.#registered)
    if (partition.leader !== broker.brokerId) {
      if (broker.leadership !== undefined) broker.highWatermark = broker.leadership.highWatermark
      broker.leadership = undefined
    } else if (isNewEpoch) {
      for (const [offset, id] of this.#committed.entries()) {
        if (broker.log[offset]?.id !== id) throw new Error(`${broker.brokerId} leads and has not ${id} at ${offset}`)
      }
      broker.leadership = new Leadership({
        brokerId: broker.brokerId,
        leaderEpoch: partition.leaderEpoch,
        logEndOffset: broker.log.length,
        highWatermark: broker.highWatermark,
        replicas: IDS,
        isr: partition.isr,
        nowMs: this.#nowMs,
      })
    } else broker.leadership?.stored(partition.isr)
    this.#look(broker)
  }

  /** What a consumer of this broker would be shown is what all were shown before. */
  #look({ brokerId, leadership, log }: Broker): void {
    for (let offset = 0; offset < (leadership?.highWatermark ?? 0); offset++) {
      const id = (log[offset] as Entry).id
      const before = this.#committed[offset]
      if (before !== undefined && before !== id)
        throw new Error(`${brokerId} shows ${id} at ${offset}, where ${before} was committed`)
      this.#committed[offset] = id
    }
  }

  /** The controller takes another leader from those in sync, and maybe takes the old one for dead. */
  #elect(without?: number): void {
    const { isr, leader, leaderEpoch } = this.#partition
    const candidates = isr.brokerIds.filter(id => id !== leader && id !== without)
    if (candidates.length === 0) return
    const gone = without ?? (this.#random.chance(0.5) ? leader : undefined)
    this.#partition = {
      leader: this.#random.pick(candidates),
      leaderEpoch: leaderEpoch + 1,
      isr: { brokerIds: isr.brokerIds.filter(id => id !== gone), version: isr.version + 1 },
    }
    this.counts.elections++
  }

  /** With the power goes what was not flushed: so who registers after that leaves the in-sync replicas first (KIP-966). */
  #restart(broker: Broker, losesPower: boolean): void {
    const { brokerId } = broker
    const { isr, leader, leaderEpoch } = this.#partition
    if (losesPower) {
      if (isr.brokerIds.length === 1 && isr.brokerIds[0] === brokerId) return
      if (leader === brokerId) this.#elect(brokerId)
      else if (isr.brokerIds.includes(brokerId)) {
        const brokerIds = isr.brokerIds.filter(id => id !== brokerId)
        this.#partition = { leader, leaderEpoch, isr: { brokerIds, version: isr.version + 1 } }
      }
      broker.log.length = this.#random.between(0, broker.log.length)
      this.counts.powerLosses++
    } else if (leader === brokerId) {
      // It may lead again, under a new epoch.
      this.#partition = { leader, leaderEpoch: leaderEpoch + 1, isr: { ...isr, version: isr.version + 1 } }
    }
    broker.highWatermark = Math.min(this.#random.between(0, broker.highWatermark), broker.log.length)
    broker.leadership = undefined
    broker.brokerEpoch += 1
    broker.fetchId += 1
    this.#registered.set(brokerId, broker.brokerEpoch)
    this.#learn(broker)
  }

  #deliver(): void {
    const [message] = this.#messages.splice(this.#random.below(this.#messages.length), 1)
    message?.()
  }
}
