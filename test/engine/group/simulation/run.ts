/** One random schedule: clients come, go, crash, stop and wake, answers are lost, the coordinator restarts, topics grow. */
import type { ClassicGroup } from '../../../../engine/group/classic/group.ts'
import type { ConsumerGroup } from '../../../../engine/group/consumer/group.ts'
import { GROUP } from '../support/coordinator.ts'
import { ClassicClient, ConsumerClient, type SimulatedClient } from './clients.ts'
import { type Spot, World } from './world.ts'

export type Protocols = 'classic' | 'consumer' | 'both'

const STEPS = 60
const CLIENTS_MAX = 5
/** In the end the group has this many rounds of orderly clients to come to rest; a round takes 3 s. */
const ROUNDS_MAX = 100
const ROUND_MS = 3_000

export interface RunResult {
  readonly steps: number
  readonly restarts: number
}

/** @throws at the first breach, with what it was */
export function runSchedule(seed: number, protocols: Protocols): RunResult {
  const run = new Run(seed, protocols)
  for (let step = 0; step < STEPS; step++) {
    run.step()
    run.check()
  }
  run.comeToRest()
  return { steps: run.world.steps, restarts: run.world.restarts }
}

class Run {
  readonly world: World
  readonly #protocols: Protocols
  readonly #crashRate: number
  #clients: SimulatedClient[] = []
  /** Requests that are still under way, some of processes that died. */
  #late: (() => void)[] = []
  #ids = 0

  constructor(seed: number, protocols: Protocols) {
    this.world = new World(seed)
    this.#protocols = protocols
    this.#crashRate = this.world.random.pick([0.02, 0.1, 0.2])
    this.world.lossRate = this.world.random.pick([0, 0.05, 0.2])
  }

  step(): void {
    const { world } = this
    const { random } = world
    world.steps++
    const choice = random.below(100)
    if (choice < 12) world.advance(random.pick([100, 1_000, 3_000, 12_000]))
    else if (choice < 22 && this.#clients.length < CLIENTS_MAX) this.#addClient()
    else if (choice < 24) world.restart()
    else if (choice < 26) this.#grow()
    else if (choice < 30 && this.#late.length > 0) this.#late.splice(random.below(this.#late.length), 1)[0]?.()
    else if (this.#clients.length > 0) {
      const client = random.pick(this.#clients)
      if (random.chance(this.#crashRate)) this.#crash(client)
      else if (random.chance(0.1)) this.#keepForLater(client.lateCommit())
      else client.act(false)
    }
    this.#clients = this.#clients.filter(client => !client.isOver)
  }

  /** Nobody owns what another owns, as far as the coordinator takes them for members. */
  check(): void {
    const group = this.world.machine.group(GROUP)
    if (group === undefined) return
    if (group.type === 'consumer') checkOwners(group)
    else checkSessions(group)
    const owners = new Map<Spot, string>()
    for (const client of this.#clients) {
      if (client.isStale || this.world.epochOf(client.memberId) !== client.epoch) continue
      if (group.members.get(client.memberId)?.instanceId !== client.instanceId) continue
      for (const spot of client.owned.keys()) {
        const other = owners.get(spot)
        if (other !== undefined) throw new Error(`${spot} is owned by ${other} and ${client.memberId}`)
        owners.set(spot, client.memberId)
      }
    }
  }

  /** Chaos is over: who is there acts in turn, and everything has to be assigned once, and answered. */
  comeToRest(): void {
    const { world } = this
    for (const send of this.#late) send()
    world.lossRate = 0
    this.#removeTwins()
    for (let round = 0; round < ROUNDS_MAX; round++) {
      world.advance(ROUND_MS)
      for (const client of this.#clients) client.act(true)
      this.check()
      this.#clients = this.#clients.filter(client => !client.isOver)
      if (this.#isAtRest()) return
    }
    const states = this.#clients.map(client => `${client.memberId}@${client.epoch} owns ${[...client.owned.keys()]}`)
    throw new Error(`the group does not come to rest: ${states.join('; ')}; open requests: ${world.openRequests}`)
  }

  /** Of several processes with one instance id one is left: they would fence each other, or wait for each other, for ever. */
  #removeTwins(): void {
    const seen = new Set<string>()
    for (const client of [...this.#clients]) {
      if (client.instanceId === null) continue
      if (seen.has(client.instanceId)) {
        this.#clients = this.#clients.filter(one => one !== client)
        client.giveUp()
      }
      seen.add(client.instanceId)
    }
  }

  #isAtRest(): boolean {
    const { world } = this
    if (!this.#clients.every(client => client.isSettled) || world.openRequests > 0) return false
    const group = world.machine.group(GROUP)
    if ((group?.members.size ?? 0) !== this.#clients.length) return false
    const owned = this.#clients.flatMap(client => [...client.owned.keys()])
    if (new Set(owned).size !== owned.length) throw new Error('a partition is owned twice at rest')
    const topics = new Set(this.#clients.flatMap(client => client.topics))
    let expected = 0
    for (const [name, partitions] of world.topics) if (topics.has(name)) expected += partitions
    return owned.length === expected
  }

  #addClient(): void {
    const { world } = this
    const { random } = world
    const all = [...world.topics.keys()]
    const topics = random.chance(0.7) ? all : all.filter(() => random.chance(0.6))
    const instanceId = random.chance(0.3) ? `i${random.below(3)}` : null
    // Two processes with one instance id fence each other for ever; that is tried, but only while one of them is not there.
    const isTaken = instanceId !== null && this.#clients.some(client => client.instanceId === instanceId)
    const isClassic = this.#protocols === 'classic' || (this.#protocols === 'both' && random.chance(0.5))
    const instance = isTaken && random.chance(0.8) ? null : instanceId
    this.#clients.push(
      isClassic ? new ClassicClient(world, topics, instance, random.chance(0.5)) : this.#consumer(topics, instance),
    )
  }

  #consumer(topics: string[], instanceId: string | null): ConsumerClient {
    return new ConsumerClient(this.world, `m${++this.#ids}`, topics, instanceId, this.world.random.chance(0.3))
  }

  /** The process dies; a request of it may still be under way, and a new process may come in its place. */
  #crash(client: SimulatedClient): void {
    const { random } = this.world
    if (random.chance(0.3)) {
      this.#keepForLater(client.lastWords())
    }
    this.#clients = this.#clients.filter(one => one !== client)
    client.giveUp()
    if (client.instanceId === null || random.chance(0.5)) return
    if (client instanceof ClassicClient) {
      this.#clients.push(new ClassicClient(this.world, client.topics, client.instanceId, client.isCooperative))
    } else this.#clients.push(this.#consumer(client.topics, client.instanceId))
  }

  #keepForLater(send: (() => void) | undefined): void {
    if (send !== undefined) this.#late.push(send)
  }

  #grow(): void {
    const { random, topics } = this.world
    const name = random.pick([...topics.keys(), 't4'])
    this.world.grow(name, (topics.get(name) ?? 0) + 1)
  }
}

/** The table of owners, made anew from the members. */
function checkOwners(group: ConsumerGroup): void {
  const owners = new Map<string, string>()
  for (const { memberId, current, session } of group.members.values()) {
    if (!session.isSet) throw new Error(`${memberId} can stay for ever`)
    for (const partitions of [current.assigned, current.pendingRevocation]) {
      partitions.forEach((topicId, partition) => {
        const spot = `${topicId}-${partition}`
        const other = owners.get(spot)
        if (other !== undefined) throw new Error(`the coordinator has ${spot} at ${other} and ${memberId}`)
        if (group.ownerOf(topicId, partition)?.memberId !== memberId) throw new Error(`${spot} has a wrong owner`)
        owners.set(spot, memberId)
      })
    }
  }
}

/** Every member either has to be heard from, or is waited for by a deadline of the whole group. */
function checkSessions(group: ClassicGroup): void {
  for (const member of group.members.values()) {
    if (!member.session.isSet && !member.isWaiting) throw new Error(`${member.memberId} can stay for ever`)
  }
  const { state, joinDeadline, syncDeadline, awaitingSync } = group
  if (state === 'preparing-rebalance' && !joinDeadline.isSet) throw new Error('a rebalance has no end')
  if (awaitingSync.size > 0 && !syncDeadline.isSet) throw new Error('nobody is waited for')
}
