/** One random schedule of a whole cluster: some seconds of troubles, and then it has to come to rest. */
import { Random } from '../../../../engine/base/random.ts'
import { NO_LEADER } from '../../../../engine/cluster/cluster-state.ts'
import { SimulatedProducer } from './producers.ts'
import { type Mistakes, World } from './world.ts'

const TROUBLES_MS = 3_000
/** Once everything is well: leases end, brokers register, logs are cut and copied. */
const REST_MS_MAX = 15_000
const REST_LOOK_MS = 100

export interface RunResult {
  readonly events: number
  readonly counts: Readonly<Record<string, number>>
}

export class Schedule {
  readonly world: World
  readonly #producers: SimulatedProducer[]
  readonly #troublesEndMs: number

  constructor(seed: number, mistakes: Mistakes = {}, isTraced = false) {
    this.world = new World(new Random(seed), mistakes, isTraced)
    const { world } = this
    const { random, metadata } = world
    this.#troublesEndMs = world.time.nowMs + TROUBLES_MS
    for (const brokerId of world.brokerIds) world.start(brokerId)
    this.#producers = Array.from(
      { length: world.partitions + 1 },
      (_, at) => new SimulatedProducer(world, at % world.partitions),
    )
    const rate = random.pick([0, 0.01, 0.05])
    metadata.troubles = { unavailable: rate, lost: rate, late: random.pick([0, 0.05, 0.2]), lostWatch: rate / 2 }
    world.lossRate = random.pick([0, 0.02, 0.1])
    world.lateRate = random.pick([0, 0.02, 0.1])
    world.repeatRate = random.pick([0, 0.1])
    this.#later(random.pick([100, 250, 500]))
  }

  /** @throws what broke a rule */
  async run(): Promise<RunResult> {
    const { world } = this
    const { time } = world
    await time.drive(() => time.nowMs >= this.#troublesEndMs)
    this.#beWell()
    const endMs = time.nowMs + REST_MS_MAX
    let lookMs = 0
    const isAtRest = (): boolean => {
      if (time.nowMs < lookMs) return false
      lookMs = time.nowMs + REST_LOOK_MS
      return this.#unrest() === undefined
    }
    await time.drive(() => isAtRest() || time.nowMs >= endMs)
    const unrest = this.#unrest()
    if (unrest !== undefined) throw new Error(`it does not come to rest: ${unrest}`)
    for (let partition = 0; partition < world.partitions; partition++) {
      world.checks.atRest(partition, world.partition(partition).replicas)
    }
    return { events: time.events, counts: { ...world.counts, ...world.checks.counts } }
  }

  /** Troubles come one after the other, each at a random time. */
  #later(everyMs: number): void {
    const { time, random } = this.world
    time.after(random.below(2 * everyMs), undefined, () => {
      if (time.nowMs >= this.#troublesEndMs) return
      this.#trouble()
      this.#later(everyMs)
    })
  }

  #trouble(): void {
    const { world } = this
    const { random, time, members, brokerIds } = world
    const brokerId = random.pick(brokerIds)
    const member = members.get(brokerId)
    const choice = random.below(100)
    if (choice < 25 && member !== undefined) {
      if (random.chance(0.3)) member.broker.flush()
      member.broker.checkpoint()
    } else if (choice < 37) this.#goes(brokerId, () => world.crash(brokerId))
    else if (choice < 47)
      this.#goes(brokerId, () =>
        world.mayLose(brokerId) || random.chance(0.05) ? world.losePower(brokerId) : world.crash(brokerId),
      )
    else if (choice < 49 && world.mayLose(brokerId)) this.#goes(brokerId, () => world.loseDirectory(brokerId))
    else if (choice < 58) {
      world.stop(brokerId)
      time.after(1_500 + random.below(1_500), undefined, () => world.start(brokerId))
    } else if (choice < 78 && member !== undefined) {
      const ms = random.pick([50, 300, 900, 2_000])
      world.say(`${member.process.name} stands still for ${ms} ms`)
      member.process.standStill(time.nowMs + ms)
    } else if (choice < 92 && member !== undefined) {
      const ms = random.pick([200, 900, 2_000])
      world.say(`${member.process.name} does not reach the store for ${ms} ms`)
      member.store.cutOffUntilMs = time.nowMs + ms
    } else if (random.chance(0.5)) this.#reassign()
    else member?.node?.controller.balance()
  }

  #goes(brokerId: number, work: () => void): void {
    const { random, time } = this.world
    work()
    time.after(random.pick([5, 200, 1_200]), undefined, () => this.world.start(brokerId))
  }

  /** Asks for other replicas, or takes that back. */
  #reassign(): void {
    const { world } = this
    const { random, members, time } = world
    const member = random.pick([...members.values()])
    const node = member?.node
    if (member === undefined || node?.brokerEpoch === undefined) return
    const partition = random.below(world.partitions)
    const ids = [...world.brokerIds].sort(() => random.below(3) - 1).slice(0, 3)
    const target = random.chance(0.8) ? ids : undefined
    time.after(0, member.process, () => {
      world.say(`asks for ${target} as replicas of ${partition}`)
      node.topics.reassign('topic', partition, target).catch(() => {})
    })
  }

  /** Troubles end: everybody is there and reaches everybody. */
  #beWell(): void {
    const { world } = this
    const { metadata, members, time, brokerIds } = world
    world.say('troubles end')
    metadata.troubles = { unavailable: 0, lost: 0, late: 0, lostWatch: 0 }
    world.lossRate = 0
    world.lateRate = 0
    world.repeatRate = 0
    for (const { store } of members.values()) store.cutOffUntilMs = Math.min(store.cutOffUntilMs, time.nowMs)
    for (const producer of this.#producers) producer.isOver = true
    // Those that are stopping have gone by then, and those that could not start try once more.
    const start = (): void => {
      for (const brokerId of brokerIds) world.start(brokerId)
      time.after(500, undefined, start)
    }
    time.after(0, undefined, start)
  }

  /** What is not as it should be in the end. */
  #unrest(): string | undefined {
    const { world } = this
    for (const brokerId of world.brokerIds) {
      if (world.members.get(brokerId)?.node?.brokerEpoch === undefined) return `${brokerId} is not there`
    }
    if (this.#producers.some(({ isOpen }) => isOpen)) return 'a record is not acknowledged'
    for (let partition = 0; partition < world.partitions; partition++) {
      const { leader, isr, replicas, adding = [], topicId } = world.partition(partition)
      if (leader === NO_LEADER) return `partition ${partition} has no leader`
      if (isr.length < replicas.length || adding.length > 0)
        return `${isr} of ${replicas} are in sync with ${partition}`
      const leadership = world.members.get(leader)?.node?.replicas.leadershipOf(topicId, partition)
      if (leadership === undefined) return `${leader} does not know that it leads ${partition}`
      if (!leadership.knowsItsEnd) return `${leader} does not know its end`
      if (leadership.highWatermark < leadership.logEndOffset) return `${leader} has not committed all of ${partition}`
      if (!world.checks.hasShown(partition, leadership.logEndOffset)) return `${leader} does not show all`
    }
    return undefined
  }
}
