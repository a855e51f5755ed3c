/**
 * Closes an engine under everything that a service may have left open, and ends by itself: no thread, handle, descriptor or mapping is left,
 * and every record that was handed over is on the disk.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { isMillraceError, Millrace, type MillraceError } from '../../../client/index.ts'
import { AckLog } from '../support/ack-log.ts'
import { streamOf } from '../support/records.ts'
import { pause, Streams } from './streams.ts'
import { TOPICS } from './topics.ts'

export interface ClosingPlan {
  readonly directory: string
  readonly ackPath: string
  readonly run: number
}

const plan = JSON.parse(process.argv[2] as string) as ClosingPlan
const log = new AckLog(plan.ackPath)
const streams = new Streams(log, plan.run)

const threadCount = (): number => Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])

/** Descriptors and mappings of files in the directory. */
function heldFiles(): string[] {
  const open = readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return [] // the descriptor of this listing
    }
  })
  const mapped = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .map(line => line.slice(line.indexOf('/')))
  return [...open, ...mapped].filter(path => path.startsWith(plan.directory))
}

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work()
    return 'none'
  } catch (error) {
    assert.ok(isMillraceError(error), String(error))
    return error.code
  }
}

const threadsBefore = threadCount()
const resourcesBefore = process.getActiveResourcesInfo()
/** In a function of its own, so that nothing of it is referenced afterwards. */
async function openUseAndClose(): Promise<void> {
  const engine = await Millrace.open(plan.directory, { writers: 2 })
  for (const { topic, partitions, config } of TOPICS.slice(0, 2)) {
    await engine.admin.createTopic({ topic, partitions, config })
    log.write(`created ${topic}`)
  }
  const lingering = await engine.producer({ lingerMs: 60_000 })
  const quick = await engine.producer()
  const sends: Promise<string | undefined>[] = []
  for (const { topic, partitions } of TOPICS.slice(0, 2)) {
    for (let partition = 0; partition < partitions; partition++) {
      const stream = (producer: string): string => streamOf({ run: plan.run, producer, topic, partition })
      assert.equal(await streams.send(quick, stream('quick'), topic, partition, 500), undefined)
      sends.push(streams.send(lingering, stream('lingering'), topic, partition, 50))
      sends.push(streams.send(quick, stream('quick'), topic, partition, 50))
    }
  }
  const reader = engine.reader({ topic: 'plain', from: 'latest', to: 'never' })
  let readerError: MillraceError | undefined
  const following = (async () => {
    for await (const batch of reader) log.write(`end plain ${batch.partition} ${batch.nextOffset}`)
  })().catch((error: unknown) => {
    assert.ok(isMillraceError(error), String(error))
    readerError = error
  })
  const lookup = await engine.lookup('plain')
  assert.equal(lookup.byOffset(0, 10)?.offset, 10)
  const handle = engine.threadHandle() // nobody ever attaches to it

  const appender = await quick.appender('plain', 0)
  await engine.close()
  await engine.close() // twice is fine
  assert.deepEqual(await Promise.all(sends), Array(sends.length).fill(undefined))
  await following
  assert.ok(readerError === undefined || readerError.code === 'CLOSED', String(readerError))
  lookup.close()
  handle.port.close()

  assert.equal(await codeOf(() => engine.admin.createTopic({ topic: 'late' })), 'CLOSED')
  assert.equal(await codeOf(() => engine.admin.describeTopic('plain')), 'CLOSED')
  assert.equal(await codeOf(() => engine.producer()), 'CLOSED')
  assert.equal(await codeOf(() => quick.send({ topic: 'plain', messages: [{ value: '' }] })), 'CLOSED')
  assert.equal(await codeOf(() => appender.tryAppend(Buffer.alloc(1))), 'CLOSED')
  assert.equal(await codeOf(() => quick.flush()), 'CLOSED')
  assert.equal(await codeOf(() => engine.lookup('plain')), 'CLOSED')
  assert.equal(await codeOf(() => engine.threadHandle()), 'CLOSED')
  assert.equal(
    await codeOf(async () => {
      for await (const _ of engine.reader({ topic: 'plain' })) assert.fail('a batch after close')
    }),
    'CLOSED',
  )
}

await openUseAndClose()
for (let tries = 0; tries < 50 && (heldFiles().length > 0 || threadCount() > threadsBefore + 4); tries++) {
  globalThis.gc?.()
  await pause(20)
}
assert.deepEqual(heldFiles(), [])
// Threads of libuv's pool start with its first use and stay.
assert.ok(threadCount() <= threadsBefore + 4, `${threadCount()} threads, ${threadsBefore} before`)
const extra = process.getActiveResourcesInfo().filter(name => !resourcesBefore.includes(name) && name !== 'Timeout')
assert.deepEqual(extra, [])
console.log('closed')
