/**
 * Fetches for tracks that wait for more, one request under way to each leader: what is wanted of a leader meanwhile goes with the next.
 * Leaders do not wait for each other, so one that does not answer holds up its own partitions only.
 */
import { isMillraceError, MillraceError } from '../../engine/base/errors.ts'
import type { Fetched, FetchLimits, Position } from './cluster.ts'

/** Longest wait of a fetch at the tail. */
const WAIT_MS = 500
/** What may be over with the next try. */
const PASSING = ['CONNECTION_FAILED', 'TIMED_OUT', 'LEADER_NOT_AVAILABLE'] as const
/** Pause after a fetch that failed. */
const RETRY_MS = 200

/** What of a cluster is needed here. */
export interface FetchSource {
  /** Ids of the brokers that lead the partitions of a topic, negative where nobody does. @throws UNKNOWN_TOPIC_OR_PARTITION */
  leaders(topic: string, forceUpdate: boolean): Promise<readonly number[]>
  /** Resolves when the leader has something, or `maxWaitMs` is over. @throws OFFSET_OUT_OF_RANGE with topic and partition, and others */
  fetchFrom(leader: number, positions: readonly Position[], limits: FetchLimits): Promise<Fetched[]>
}

/** Who waits for records of a partition. */
export interface FetchTarget extends Position {
  take(fetched: Fetched): void
  fail(error: MillraceError): void
}

export interface FetchAheadOptions {
  readonly maxBytes: number
  readonly isCommitted: boolean
  /** How long errors that may pass are waited out for a partition before it is told. */
  readonly patienceMs: number
}

export class FetchAhead {
  readonly #source: FetchSource
  readonly #limits: FetchLimits
  readonly #patienceMs: number
  readonly #waiting = new Map<FetchTarget, PromiseWithResolvers<void>>()
  /** Began to wait in this turn. */
  #new: FetchTarget[] = []
  /** Wanted of each leader with its next fetch. */
  readonly #lanes = new Map<number, Set<FetchTarget>>()
  /** Leaders with a fetch under way. */
  readonly #running = new Set<number>()
  /** Topics whose leaders are to be asked for anew. */
  readonly #stale = new Set<string>()
  /** Since when fetches for a target fail. */
  readonly #failingSince = new WeakMap<FetchTarget, number>()
  #isClosed = false

  constructor(source: FetchSource, { maxBytes, isCommitted, patienceMs }: FetchAheadOptions) {
    this.#source = source
    this.#limits = { maxBytes, maxWaitMs: WAIT_MS, isCommitted }
    this.#patienceMs = patienceMs
  }

  /** Resolves when something came for the target, an error too, or nothing for a while. */
  wait(target: FetchTarget): Promise<void> {
    const known = this.#waiting.get(target)
    if (known !== undefined) return known.promise
    const waiting = Promise.withResolvers<void>()
    if (this.#isClosed) waiting.resolve()
    else {
      this.#waiting.set(target, waiting)
      if (this.#new.push(target) === 1) queueMicrotask(() => void this.#distribute())
    }
    return waiting.promise
  }

  /** Who waits for it goes on. */
  forget(target: FetchTarget): void {
    this.#waiting.get(target)?.resolve()
    this.#waiting.delete(target)
  }

  close(): void {
    this.#isClosed = true
    for (const target of [...this.#waiting.keys()]) this.forget(target)
  }

  /** To the leaders of their partitions. */
  async #distribute(): Promise<void> {
    const targets = this.#new
    this.#new = []
    const byTopic = Map.groupBy(targets, ({ topic }) => topic)
    await Promise.all([...byTopic].map(([topic, own]) => this.#enqueue(topic, own)))
    for (const [leader, lane] of this.#lanes)
      if (lane.size > 0 && !this.#running.has(leader)) void this.#run(leader, lane)
  }

  async #enqueue(topic: string, targets: readonly FetchTarget[]): Promise<void> {
    try {
      const leaders = await this.#source.leaders(topic, this.#stale.delete(topic))
      for (const target of targets) {
        const { partition } = target
        const leader = leaders[partition]
        if (leader === undefined)
          this.#failed([target], new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', { topic, partition }))
        else if (leader < 0) this.#later([target], new MillraceError('LEADER_NOT_AVAILABLE', { topic, partition }))
        else {
          const lane = this.#lanes.get(leader) ?? new Set()
          this.#lanes.set(leader, lane.add(target))
        }
      }
    } catch (error) {
      this.#report(targets, error)
    }
  }

  async #run(leader: number, lane: Set<FetchTarget>): Promise<void> {
    this.#running.add(leader)
    while (lane.size > 0 && !this.#isClosed) {
      const targets = [...lane].filter(target => this.#waiting.has(target))
      lane.clear()
      if (targets.length > 0) await this.#fetch(leader, targets)
    }
    this.#running.delete(leader)
  }

  async #fetch(leader: number, targets: readonly FetchTarget[]): Promise<void> {
    const positions = targets.map(({ topic, partition, offset }) => ({ topic, partition, offset }))
    try {
      for (const fetched of await this.#source.fetchFrom(leader, positions, this.#limits)) {
        findIn(targets, fetched)?.take(fetched)
      }
      for (const target of targets) {
        this.#failingSince.delete(target)
        this.forget(target)
      }
    } catch (error) {
      await this.#told(targets, error)
    }
  }

  /** Whoever is concerned is told: one partition, the topics that have a fault of their own, or all. */
  async #told(targets: readonly FetchTarget[], error: unknown): Promise<void> {
    const own = isMillraceError(error, 'OFFSET_OUT_OF_RANGE') ? findIn(targets, error.details) : undefined
    if (own !== undefined) {
      this.#report([own], error)
      for (const target of targets) this.forget(target)
      return
    }
    if (isPassing(error)) {
      this.#report(targets, error)
      return
    }
    // One topic that is gone, or may not be read, does not hold up the others.
    const byTopic = [...Map.groupBy(targets, ({ topic }) => topic)]
    const faults = await Promise.all(byTopic.map(([topic]) => this.#faultOf(topic)))
    const isOfTopics = faults.some(fault => fault !== undefined && !isPassing(fault))
    for (const [at, [, own]] of byTopic.entries()) {
      const fault = faults[at] ?? (isOfTopics ? undefined : error)
      if (fault === undefined) for (const target of own) this.forget(target)
      else this.#report(own, fault)
    }
  }

  async #faultOf(topic: string): Promise<unknown> {
    try {
      await this.#source.leaders(topic, true)
      return undefined
    } catch (error) {
      return error
    }
  }

  #report(targets: readonly FetchTarget[], error: unknown): void {
    const failure = isMillraceError(error) ? error : new MillraceError('IO_ERROR', { during: 'fetch' }, error)
    if (isPassing(failure)) this.#later(targets, failure)
    else this.#failed(targets, failure)
  }

  #failed(targets: readonly FetchTarget[], error: MillraceError): void {
    for (const target of targets) {
      if (!this.#isClosed) target.fail(error)
      this.forget(target)
    }
  }

  /** It is tried again in a while, by who waits for it, unless that has been so for too long. */
  #later(targets: readonly FetchTarget[], error: MillraceError): void {
    const nowMs = performance.now()
    for (const target of targets) {
      this.#stale.add(target.topic)
      const sinceMs = this.#failingSince.get(target) ?? nowMs
      this.#failingSince.set(target, sinceMs)
    }
    const isOver = (target: FetchTarget) => nowMs - (this.#failingSince.get(target) as number) >= this.#patienceMs
    this.#failed(targets.filter(isOver), error)
    const others = targets.filter(target => !isOver(target))
    setTimeout(() => {
      for (const target of others) this.forget(target)
    }, RETRY_MS).unref()
  }
}

const isPassing = (error: unknown): boolean => PASSING.some(code => isMillraceError(error, code))

function findIn(
  targets: readonly FetchTarget[],
  { topic, partition }: { readonly topic?: unknown; readonly partition?: unknown },
): FetchTarget | undefined {
  return targets.find(target => target.topic === topic && target.partition === partition)
}
