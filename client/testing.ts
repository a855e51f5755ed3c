/**
 * A broker for the tests of a service: a Kafka broker of its own for each test, in this process, with its data in a temporary folder.
 * Any Kafka client connects to it; `faults` makes it misbehave. Works under any test runner, as many side by side as wanted.
 *
 *     const broker = await testBroker()
 *     const kafka = new Kafka({ brokers: [broker.bootstrap] })
 *     broker.faults.error('Produce', 'NOT_LEADER_OR_FOLLOWER', { times: 2 })
 *     await broker.close()
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MillraceError } from '../engine/base/errors.ts'
import { KAFKA_ERROR } from '../engine/kafka/error-codes.ts'
import { SERVED } from '../engine/kafka/served.ts'
import type { Interceptor, Intervention, KafkaServer, KafkaServerOptions } from '../engine/kafka/server/server.ts'
import { Millrace, type MillraceOptions } from './millrace.ts'

/** Longest delay that may be injected. */
const DELAY_MS_MAX = 600_000

export interface FaultOptions {
  /** How many requests are met, default all from now on. */
  readonly times?: number
  /** How many are let through before, default none. */
  readonly after?: number
}

interface Fault {
  readonly apiKey: number
  readonly delayMs: number
  readonly intervention: Intervention | undefined
  times: number
  after: number
}

/** The faults of one broker. Of several for one API the one that was injected first is used up first. */
export class Faults implements Interceptor {
  readonly #faults: Fault[] = []

  /** Requests are carried out `delayMs` later. @param api such as 'Produce' @throws INVALID_ARGUMENT */
  delay(api: string, delayMs: number, options: FaultOptions = {}): this {
    if (!(delayMs >= 0 && delayMs <= DELAY_MS_MAX))
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'delayMs', value: delayMs, max: DELAY_MS_MAX })
    return this.#add(api, delayMs, undefined, options)
  }

  /**
   * Requests are not carried out; everything that they name is answered with an error.
   * @param error Kafka's name or number of it
   * @throws INVALID_ARGUMENT
   */
  error(api: string, error: keyof typeof KAFKA_ERROR | number, options: FaultOptions = {}): this {
    const errorCode = typeof error === 'number' ? error : KAFKA_ERROR[error]
    if (errorCode === undefined)
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'error', value: String(error) })
    return this.#add(api, 0, { kind: 'error', errorCode }, options)
  }

  /** Requests are not carried out; their connections end. @throws INVALID_ARGUMENT */
  drop(api: string, options: FaultOptions = {}): this {
    return this.#add(api, 0, { kind: 'drop' }, options)
  }

  /** From now on everything goes well. */
  clear(): void {
    this.#faults.length = 0
  }

  #add(api: string, delayMs: number, intervention: Intervention | undefined, options: FaultOptions): this {
    const apiKey = [...SERVED.values()].find(served => served.api.name === api)?.api.key
    if (apiKey === undefined) throw new MillraceError('INVALID_ARGUMENT', { argument: 'api', value: api })
    const { times = Number.POSITIVE_INFINITY, after = 0 } = options
    this.#faults.push({ apiKey, delayMs, intervention, times, after })
    return this
  }

  /** @internal For the server. */
  before(apiKey: number): Promise<Intervention | undefined> | Intervention | undefined {
    const at = this.#faults.findIndex(fault => fault.apiKey === apiKey)
    const fault = this.#faults[at]
    if (fault === undefined) return undefined
    if (fault.after > 0) {
      fault.after -= 1
      return undefined
    }
    fault.times -= 1
    if (fault.times <= 0) this.#faults.splice(at, 1)
    const { delayMs, intervention } = fault
    if (delayMs === 0) return intervention
    return new Promise(resolve => setTimeout(() => resolve(intervention), delayMs))
  }
}

export interface TestBrokerOptions extends Omit<KafkaServerOptions, 'interceptor'> {
  /** Options of the engine. Groups begin their first rebalance at once, unless they say otherwise. */
  readonly engine?: MillraceOptions
  /** Folder in which the data lies while the broker lives. Default: the system's folder for temporary files. */
  readonly directory?: string
}

export class TestBroker implements AsyncDisposable {
  /** The engine behind it, for what a test wants to see or do without a client. */
  readonly engine: Millrace
  readonly faults: Faults
  readonly #server: KafkaServer
  readonly #directory: string
  #closing: Promise<void> | undefined

  /** @internal Use `testBroker`. */
  constructor(engine: Millrace, server: KafkaServer, faults: Faults, directory: string) {
    this.engine = engine
    this.#server = server
    this.faults = faults
    this.#directory = directory
  }

  get host(): string {
    return (this.#server.addresses[0] as { host: string }).host
  }

  get port(): number {
    return this.#server.port
  }

  /** `host:port`, as clients take it. */
  get bootstrap(): string {
    return `${this.host}:${this.port}`
  }

  /** Ends the broker and removes its data. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown()
    return this.#closing
  }

  async #shutDown(): Promise<void> {
    this.faults.clear()
    await this.engine.close()
    await rm(this.#directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Starts a broker on a free port of the loopback address.
 * @throws as `Millrace.open` and `listen`
 * Cost: some 0.2 s, most of it for threads to start.
 */
export async function testBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { engine: engineOptions = {}, directory: parent = tmpdir(), ...serverOptions } = options
  const directory = await mkdtemp(join(parent, 'millrace-test-'))
  const faults = new Faults()
  let engine: Millrace | undefined
  try {
    const groups = { initialRebalanceDelayMs: 0, ...engineOptions.groups }
    engine = await Millrace.open(directory, { writers: 1, jobThreads: 1, ...engineOptions, groups })
    const server = await engine.listen({ port: 0, drainMs: 500, ...serverOptions, interceptor: faults })
    return new TestBroker(engine, server, faults, directory)
  } catch (error) {
    await engine?.close()
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}
