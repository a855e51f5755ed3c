/** A group of three members over the flights: one of them leaves in the middle, and its partitions go to the others. Main thread. */
import { Progress, type ProgressStream } from '../../client/cli/progress.ts'
import type { Consumer, Millrace } from '../../client/index.ts'
import type { Checks } from './checks.ts'
import type { Subject } from './subject.ts'

const GROUP = 'airports'
const MEMBERS = 3
const WAIT_MS = 60_000
const LOOK_MS = 1

export interface Grouped {
  readonly ms: number
  readonly records: number
  /** Of each member. */
  readonly shares: readonly number[]
  /** From when one was told to leave until the others had its partitions, in milliseconds. */
  readonly rebalanceMs: number
}

interface Member {
  readonly consumer: Consumer
  readonly handling: Promise<void>
  records: number
}

export async function consumeAsGroup(
  { engine, topic, flights, layout }: Subject,
  checks: Checks,
  stream: ProgressStream = process.stderr,
): Promise<Grouped> {
  const times = layout.map(rows => new Uint8Array(rows.length))
  const progress = new Progress('grouping ', flights.count, stream)
  let handled = 0
  const start = performance.now()
  const join = async (): Promise<Member> => {
    const consumer = engine.consumer({ groupId: GROUP, autoOffsetReset: 'earliest' })
    await consumer.subscribe(topic)
    const handling = consumer.eachBatch(batch => {
      const seen = times[batch.partition] as Uint8Array
      const cursor = batch.cursor()
      while (cursor.next()) {
        ;(seen[cursor.offset] as number) += 1
        member.records += 1
        handled += 1
      }
      progress.update(handled)
    })
    const member: Member = { consumer, handling, records: 0 }
    return member
  }
  const members = await Promise.all(Array.from({ length: MEMBERS }, join))
  const owned = (some: readonly Member[]): number[] => some.map(({ consumer }) => consumer.assignment().length)
  const share = layout.length / MEMBERS
  await until(() => owned(members).every(count => count === share) || handled === flights.count)
  await until(() => handled > flights.count / MEMBERS)
  const [leaver, ...rest] = members as [Member, ...Member[]]
  const before = performance.now()
  leaver.consumer.stop()
  await leaver.handling
  await leaver.consumer.close()
  await until(() => owned(rest).every(count => count === layout.length / rest.length))
  const rebalanceMs = performance.now() - before
  await until(() => handled >= flights.count)
  const ms = performance.now() - start
  for (const { consumer, handling } of rest) {
    consumer.stop()
    await handling
    await consumer.close()
  }
  progress.finish()
  const wrong = times.reduce((sum, seen) => sum + seen.reduce((count, n) => count + (n === 1 ? 0 : 1), 0), 0)
  checks.check(
    'every flight was handled exactly once by the group',
    wrong === 0 && handled === flights.count,
    `${handled} of ${flights.count}, ${wrong} not once`,
  )
  await checkOffsets(engine, checks)
  return { ms, records: handled, shares: members.map(({ records }) => records), rebalanceMs }
}

async function checkOffsets(engine: Millrace, checks: Checks): Promise<void> {
  const { offsets, members } = await engine.admin.describeGroup(GROUP)
  const behind = offsets.reduce((sum, { lag }) => sum + (lag ?? 0), 0)
  checks.check(
    'the group has committed all of it, and everybody left',
    behind === 0 && members.length === 0,
    `${behind} behind`,
  )
}

async function until(holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`the group did not come to rest within ${WAIT_MS} ms`)
    await new Promise(resolve => setTimeout(resolve, LOOK_MS))
  }
}
