/** `millrace queue`: queues and their jobs. Looking works beside a service; what locks or settles jobs owns the directory. */
import type { ShareGroupDescription } from '../../engine/group/share/share-calls.ts'
import type { Job } from '../job.ts'
import { NOT_BEFORE_HEADER } from '../queue-consumer.ts'
import type { Context } from './context.ts'
import { CommandError } from './failure.ts'
import { count, formatTable } from './output.ts'
import { parseHeader } from './produce.ts'
import { parseFormat } from './record-format.ts'
import { recordToJson } from './record-json.ts'
import { sendLines } from './sending.ts'
import { looking, owning } from './session.ts'

interface JsonOption {
  readonly json?: boolean
}

interface PrintOptions extends JsonOption {
  readonly format?: string
}

export async function listQueues(context: Context, { json }: JsonOption): Promise<void> {
  await looking(context, async ({ admin }) => {
    const queues = []
    for (const name of await admin.listQueues()) queues.push(summary(await admin.describeQueue(name)))
    if (json === true) context.out.json(queues)
    else if (queues.length > 0) {
      const rows = queues.map(({ queue, topics, available, delayed, deadLettered }) => {
        return [queue, topics.join(','), available, delayed, deadLettered]
      })
      context.out.line(formatTable(['queue', 'topic', 'available', 'delayed', 'deadLettered'], rows))
    }
  })
}

function summary({ group, topics }: ShareGroupDescription) {
  const partitions = topics.flatMap(topic => topic.partitions)
  const sum = (key: 'available' | 'delayed' | 'deadLettered'): number =>
    partitions.reduce((total, partition) => total + partition[key], 0)
  return {
    queue: group,
    topics: topics.map(({ topic }) => topic),
    available: sum('available'),
    delayed: sum('delayed'),
    deadLettered: sum('deadLettered'),
  }
}

export async function describeQueue(context: Context, name: string, { json }: JsonOption): Promise<void> {
  await looking(context, async ({ admin }) => {
    const described = await admin.describeQueue(name)
    if (json === true) {
      context.out.json(described)
      return
    }
    context.out.line(described.group)
    for (const [key, value] of Object.entries(described.config)) context.out.line(`  ${key}=${value}`)
    const head = ['topic', 'partition', 'startOffset', 'endOffset', 'available', 'delayed', 'accepted', 'deadLettered']
    const rows = described.topics.flatMap(({ topic, partitions }) =>
      partitions.map(one => [
        topic,
        one.partition,
        one.startOffset,
        one.endOffset,
        one.available,
        one.delayed,
        one.accepted,
        one.deadLettered,
      ]),
    )
    for (const line of formatTable(head, rows).split('\n')) context.out.line(`  ${line}`)
  })
}

export interface PushOptions extends JsonOption {
  readonly key?: string
  readonly header: readonly string[]
  readonly delay?: number
  readonly create?: boolean
}

export async function pushJobs(
  context: Context,
  topic: string,
  file: string | undefined,
  options: PushOptions,
): Promise<void> {
  const { key = null, delay, create = false } = options
  const headers = options.header.map(parseHeader)
  await owning(context, create, async engine => {
    await engine.queue(topic, { create }).open() // first, so that retention keeps what is pushed
    const messageOf = (line: Buffer) => {
      const due = delay === undefined ? [] : [{ key: NOT_BEFORE_HEADER, value: Buffer.from(`${Date.now() + delay}`) }]
      return { key, value: line, headers: [...headers, ...due] }
    }
    const sent = await sendLines(engine, context, { topic, file, compression: 'none', messageOf })
    if (options.json === true) context.out.json({ topic, ...sent })
    else context.note(`${count(sent.count, 'job')} to ${topic}`)
  })
}

export interface PeekOptions extends PrintOptions {
  readonly number: number
}

export async function peekJobs(context: Context, name: string, options: PeekOptions): Promise<void> {
  const print = parseFormat(options.format ?? '%v\\n')
  await looking(context, async ({ admin }) => {
    for (const { record, ...facts } of await admin.peekQueue(name, { count: options.number })) {
      if (options.json === true) context.out.json({ ...recordToJson(record), ...facts })
      else for (const part of print) context.out.write(part(record, record.value))
      if (context.out.isFull) await context.out.flush()
    }
  })
}

export interface TakeOptions extends PrintOptions {
  readonly group?: string
  readonly number: number
  readonly wait: number
}

/** Ends with 1 when there is no job. Jobs are acknowledged once they were handed to stdout. */
export async function takeJobs(context: Context, topic: string, options: TakeOptions): Promise<void> {
  const print = parseFormat(options.format ?? '%v\\n')
  await owning(context, false, async engine => {
    const queue = engine.queue(topic, groupOf(options))
    const interrupt = (): void => void queue.close()
    context.signal.addEventListener('abort', interrupt, { once: true })
    const jobs = await queue.take(options.number, { waitMs: options.wait })
    if (jobs.length === 0 && !context.signal.aborted) {
      throw new CommandError(
        `${queue.group} has no job now`,
        'Wait for one with --wait, or see "millrace queue describe".',
      )
    }
    for (const job of jobs) printJob(context, job, print, options.json === true)
    await context.out.flush()
    if (!context.out.isClosed && !context.signal.aborted) await Promise.all(jobs.map(job => job.ack()))
  })
}

function printJob(context: Context, job: Job, print: ReturnType<typeof parseFormat>, json: boolean): void {
  if (json) context.out.json({ ...recordToJson(job), deliveryCount: job.deliveryCount })
  else for (const part of print) context.out.write(part(job, job.value))
}

export interface RedriveOptions extends JsonOption {
  readonly group?: string
  readonly number?: number
}

export async function redriveLetters(context: Context, topic: string, options: RedriveOptions): Promise<void> {
  await owning(context, false, async engine => {
    await engine.admin.describeQueue(options.group ?? topic) // else a wrong name would make a queue
    const queue = engine.queue(topic, groupOf(options))
    const redriven = await queue.redrive(options.number === undefined ? {} : { count: options.number })
    if (options.json === true) context.out.json({ topic, count: redriven })
    else context.note(`${count(redriven, 'job')} back to ${topic}`)
  })
}

export async function deleteQueue(context: Context, name: string, { json }: JsonOption): Promise<void> {
  await owning(context, false, async ({ admin }) => {
    await admin.deleteQueue(name)
    if (json === true) context.out.json({ queue: name })
    else context.note(`deleted the queue ${name}`)
  })
}

function groupOf({ group }: { readonly group?: string }): { readonly group?: string } {
  return group === undefined ? {} : { group }
}
