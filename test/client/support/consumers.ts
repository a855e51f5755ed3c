/** Consumers for tests: what they tell goes into a list, and a member collects what it handles. */
import type { Consumer, ConsumerOptions, Millrace, RebalanceListener } from '../../../client/index.ts'
import { text } from './engine.ts'

let groups = 0

/** Ids of their own, so that tests in one directory do not meet. */
export const newGroup = (): string => `group-${groups++}`

/** Fills partitions with `count` values each: `<partition>/<n>`. */
export async function fill(
  engine: Millrace,
  topic: string,
  partitions: number,
  count: number,
  from = 0,
): Promise<void> {
  await using producer = await engine.producer()
  const messages = Array.from({ length: partitions * count }, (_, i) => {
    const partition = i % partitions
    return { partition, value: `${partition}/${from + Math.floor(i / partitions)}` }
  })
  await producer.send({ topic, messages })
}

/** A consumer that handles record by record in the background. */
export class Member {
  readonly consumer: Consumer
  readonly handled: string[] = []
  readonly told: string[] = []
  #loop: Promise<void> | undefined

  constructor(engine: Millrace, options: ConsumerOptions) {
    this.consumer = engine.consumer({ autoOffsetReset: 'earliest', ...options })
    this.consumer.on('fenced', () => this.told.push('fenced'))
    this.consumer.on('stalled', () => this.told.push('stalled'))
    this.consumer.on('commitFailed', error => this.told.push(`commit failed: ${error.message}`))
  }

  get listener(): RebalanceListener {
    const note = (what: string) => (partitions: readonly { partition: number }[]) =>
      void this.told.push(`${what} ${partitions.map(({ partition }) => partition).join(' ')}`)
    return { onAssigned: note('assigned'), onRevoked: note('revoked'), onLost: note('lost') }
  }

  get partitions(): number[] {
    return this.consumer
      .assignment()
      .map(({ partition }) => partition)
      .sort()
  }

  /** Subscribes, and handles until the consumer is stopped or closed. */
  async start(topic: string, handle: () => unknown = () => undefined): Promise<this> {
    await this.consumer.subscribe(topic, this.listener)
    this.#loop = this.#run(handle)
    return this
  }

  async #run(handle: () => unknown): Promise<void> {
    for await (const { value } of this.consumer.records()) {
      await handle()
      this.handled.push(text(value) as string)
    }
  }

  /** Handles what it has in hand, commits and leaves. */
  async leave(): Promise<void> {
    this.consumer.stop()
    await this.#loop
    await this.consumer.close()
  }
}
