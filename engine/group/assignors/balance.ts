/**
 * The division of partitions that moves as few as it can: what every sticky assignor has in common, over plain numbers.
 * Members and topics are indexes; the names belong to the callers.
 *
 * Result: every partition of a topic with subscribers has exactly one of them as its owner, and no division is more even (the
 * sum of the squared loads is the least that the subscriptions allow); members with equal subscriptions own numbers that
 * differ by one at most. Where all members subscribe to all topics no division as even would move fewer partitions.
 */

/** No owner. */
export const NOBODY = -1

export interface BalanceTopic {
  /** Indexes of the members that subscribe to it, ascending. */
  readonly subscribers: readonly number[]
  /** The owner of each partition, changed in place; `NOBODY` or a member, who need not be a subscriber any more. */
  readonly owners: Int32Array
}

/** @param members how many there are */
export function balance(members: number, topics: readonly BalanceTopic[]): void {
  const live = topics.filter(({ subscribers }) => subscribers.length > 0)
  const loads = new Int32Array(members)
  for (const { subscribers, owners } of topics) {
    const subscribed = new Uint8Array(members)
    for (const member of subscribers) subscribed[member] = 1
    for (let partition = 0; partition < owners.length; partition++) {
      const owner = owners[partition] as number
      if (owner === NOBODY) continue
      if (subscribed[owner] === 1) loads[owner]!++
      else owners[partition] = NOBODY
    }
  }
  if (live.every(({ subscribers }) => subscribers.length === members)) balanceEqual(members, live, loads)
  else balanceUnequal(live, loads)
}

/** All subscribe to all: everyone keeps its share, what is above it and what had no owner goes to those below theirs. */
function balanceEqual(members: number, topics: readonly BalanceTopic[], loads: Int32Array): void {
  const total = topics.reduce((sum, { owners }) => sum + owners.length, 0)
  const share = Math.floor(total / members)
  // Those who own more than the share already have the first claim to one more than it.
  let extra = total % members
  const excess = new Int32Array(members)
  for (let member = 0; member < members; member++) {
    const load = loads[member] as number
    const quota = load > share && extra > 0 ? share + 1 : share
    if (quota > share) extra--
    excess[member] = Math.max(load - quota, 0)
  }
  release(topics, loads, excess)
  const queue = new LeastLoaded(Array.from(loads.keys()), loads)
  for (const { owners } of topics) {
    for (let partition = 0; partition < owners.length; partition++) {
      if (owners[partition] === NOBODY) owners[partition] = queue.take()
    }
  }
}

/** Takes `excess` partitions from each member, those that come last in the order of topics and partitions. */
function release(topics: readonly BalanceTopic[], loads: Int32Array, excess: Int32Array): void {
  for (let topic = topics.length - 1; topic >= 0; topic--) {
    const { owners } = topics[topic] as BalanceTopic
    for (let partition = owners.length - 1; partition >= 0; partition--) {
      const owner = owners[partition] as number
      if (owner === NOBODY || excess[owner] === 0) continue
      owners[partition] = NOBODY
      excess[owner]!--
      loads[owner]!--
    }
  }
}

/**
 * Members that may own different topics. Topics with the fewest subscribers come first, since they have the least choice;
 * then what is uneven is evened out.
 */
function balanceUnequal(topics: readonly BalanceTopic[], loads: Int32Array): void {
  const choosy = [...topics].sort((a, b) => a.subscribers.length - b.subscribers.length)
  for (const { subscribers, owners } of choosy) {
    if (!owners.includes(NOBODY)) continue
    const queue = new LeastLoaded(subscribers, loads)
    for (let partition = 0; partition < owners.length; partition++) {
      if (owners[partition] === NOBODY) owners[partition] = queue.take()
    }
  }
  const holdings = new Holdings(topics, loads)
  // The most loaded first. Whoever has once found nobody to hand over to will not find one later, because those whom it
  // reaches never fall behind what they have then.
  const members = Array.from(loads.keys()).sort((a, b) => (loads[b] as number) - (loads[a] as number) || a - b)
  for (const member of members) while (holdings.handOver(member));
}

/** Who holds what, and how partitions can be handed on over several members until they reach one with fewer. */
class Holdings {
  readonly #topics: readonly BalanceTopic[]
  readonly #loads: Int32Array
  /** The partitions of each member by topic; empty lists stay. */
  readonly #held: Map<number, number[]>[]

  constructor(topics: readonly BalanceTopic[], loads: Int32Array) {
    this.#topics = topics
    this.#loads = loads
    this.#held = Array.from(loads, () => new Map())
    topics.forEach(({ owners }, topic) => {
      owners.forEach((owner, partition) => {
        this.#give(owner, topic, partition)
      })
    })
  }

  /** Lessens the load of a member by one, for the least loaded that it reaches; false when nobody has two fewer. */
  handOver(from: number): boolean {
    const { cameFrom, reached } = this.#reach(from)
    let to = from
    for (const member of reached) if ((this.#loads[member] as number) < (this.#loads[to] as number)) to = member
    if ((this.#loads[from] as number) - (this.#loads[to] as number) < 2) return false
    this.#loads[from]!--
    this.#loads[to]!++
    while (to !== from) {
      const { member, topic } = cameFrom.get(to) as { member: number; topic: number }
      const partition = this.#held[member]?.get(topic)?.pop() as number
      this.#give(to, topic, partition)
      to = member
    }
    return true
  }

  #give(member: number, topic: number, partition: number): void {
    const held = this.#held[member] as Map<number, number[]>
    const partitions = held.get(topic)
    if (partitions === undefined) held.set(topic, [partition])
    else partitions.push(partition)
    ;(this.#topics[topic] as BalanceTopic).owners[partition] = member
  }

  /** Breadth first, so that few partitions move: from a member to all subscribers of what it holds, and on from those. */
  #reach(from: number): { cameFrom: Map<number, { member: number; topic: number }>; reached: number[] } {
    const cameFrom = new Map<number, { member: number; topic: number }>([[from, { member: from, topic: NOBODY }]])
    const seenTopics = new Set<number>()
    const reached = [from]
    for (const member of reached) {
      for (const [topic, partitions] of this.#held[member] as Map<number, number[]>) {
        if (partitions.length === 0 || seenTopics.has(topic)) continue
        seenTopics.add(topic)
        for (const subscriber of (this.#topics[topic] as BalanceTopic).subscribers) {
          if (cameFrom.has(subscriber)) continue
          cameFrom.set(subscriber, { member, topic })
          reached.push(subscriber)
        }
      }
    }
    return { cameFrom, reached }
  }
}

/** Gives out the member with the smallest load, the first of several, and counts what it got. */
class LeastLoaded {
  readonly #members: number[]
  readonly #loads: Int32Array

  constructor(members: readonly number[], loads: Int32Array) {
    this.#members = [...members]
    this.#loads = loads
    for (let at = (members.length >> 1) - 1; at >= 0; at--) this.#sink(at)
  }

  take(): number {
    const member = this.#members[0] as number
    this.#loads[member]!++
    this.#sink(0)
    return member
  }

  #sink(start: number): void {
    const members = this.#members
    const moving = members[start] as number
    let at = start
    for (;;) {
      let child = 2 * at + 1
      if (child >= members.length) break
      if (child + 1 < members.length && this.#before(members[child + 1] as number, members[child] as number)) child++
      if (!this.#before(members[child] as number, moving)) break
      members[at] = members[child] as number
      at = child
    }
    members[at] = moving
  }

  #before(a: number, b: number): boolean {
    const [loadOfA, loadOfB] = [this.#loads[a] as number, this.#loads[b] as number]
    return loadOfA < loadOfB || (loadOfA === loadOfB && a < b)
  }
}
