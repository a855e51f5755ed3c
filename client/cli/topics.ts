/** `millrace topics`: listing, creating, adopting, describing, altering, growing, trimming and deleting topics. */
import { isMillraceError } from '../../engine/base/errors.ts'
import { effectiveTopicConfig } from '../../engine/log/topic-config.ts'
import type { Millrace } from '../millrace.ts'
import type { TopicDescription } from '../types.ts'
import type { Context } from './context.ts'
import { UsageError } from './failure.ts'
import { count, formatTable } from './output.ts'
import { parsePosition, resolvePosition } from './positions.ts'
import { looking, owning } from './session.ts'

interface JsonOption {
  readonly json?: boolean
}

export async function listTopics(context: Context, { json }: JsonOption): Promise<void> {
  await looking(context, async engine => {
    const names = await engine.admin.listTopics()
    if (json !== true) {
      for (const name of names) context.out.line(name)
      return
    }
    const described = await Promise.all(names.map(name => engine.admin.describeTopic(name)))
    context.out.json(
      described.map(({ topic, topicId, partitions }) => ({ topic, topicId, partitions: partitions.length })),
    )
  })
}

export interface CreateOptions extends JsonOption {
  readonly partitions: number
  readonly config: readonly string[]
  readonly ifNotExists?: boolean
}

export async function createTopic(context: Context, topic: string, options: CreateOptions): Promise<void> {
  const { partitions, json } = options
  const config = parseConfig(options.config, false)
  await owning(context, true, async ({ admin }) => {
    try {
      const { topicId } = await admin.createTopic({ topic, partitions, config })
      if (json === true) context.out.json({ topic, topicId, partitions, created: true })
      else context.note(`created ${topic} with ${count(partitions, 'partition')}`)
    } catch (error) {
      if (options.ifNotExists !== true || !isMillraceError(error, 'TOPIC_ALREADY_EXISTS')) throw error
      const described = await admin.describeTopic(topic)
      const { topicId } = described
      if (json === true) context.out.json({ topic, topicId, partitions: described.partitions.length, created: false })
      else context.note(`${topic} exists`)
    }
  })
}

export async function adoptTopic(
  context: Context,
  topic: string,
  options: JsonOption & { readonly config: readonly string[] },
): Promise<void> {
  const config = parseConfig(options.config, false)
  await owning(context, true, async ({ admin }) => {
    const { topicId, partitions } = await admin.adoptTopic({ topic, config })
    if (options.json === true) context.out.json({ topic, topicId, partitions })
    else context.note(`took in ${topic} with ${count(partitions, 'partition')}`)
  })
}

export interface DescribeOptions extends JsonOption {
  readonly all?: boolean
}

export async function describeTopics(
  context: Context,
  topics: readonly string[],
  options: DescribeOptions,
): Promise<void> {
  await looking(context, async engine => {
    const names = topics.length > 0 ? topics : await engine.admin.listTopics()
    const described: TopicDescription[] = []
    for (const name of names) described.push(await engine.admin.describeTopic(name))
    if (options.json === true) context.out.json(described)
    else context.out.write(described.map(topic => describe(topic, options.all === true)).join('\n'))
  })
}

function describe({ topic, topicId, partitions, config }: TopicDescription, all: boolean): string {
  const defaults: Readonly<Record<string, string>> = effectiveTopicConfig({})
  const shown = Object.entries(config).filter(([key, value]) => all || value !== defaults[key])
  const head = ['partition', 'logStartOffset', 'logEndOffset', 'highWatermark', 'leaderEpoch', 'segments', 'sizeBytes']
  const hasErrors = partitions.some(({ error }) => error !== undefined)
  const rows = partitions.map(one => [
    one.partition,
    one.logStartOffset,
    one.logEndOffset,
    one.highWatermark,
    one.leaderEpoch,
    one.segments,
    one.sizeBytes,
    ...(hasErrors ? [one.error ?? ''] : []),
  ])
  const lines = [
    `${topic}  ${topicId}`,
    ...shown.map(([key, value]) => `  ${key}=${value}`),
    ...formatTable(hasErrors ? [...head, 'error'] : head, rows)
      .split('\n')
      .map(line => `  ${line}`),
  ]
  return `${lines.join('\n')}\n`
}

export async function alterTopic(
  context: Context,
  topic: string,
  options: JsonOption & { readonly config: readonly string[] },
): Promise<void> {
  const config = parseConfig(options.config, true)
  if (Object.keys(config).length === 0) {
    throw new UsageError('nothing is to be altered', 'Give --config KEY=VALUE, or --config KEY= for the default.')
  }
  await owning(context, false, async ({ admin }) => {
    await admin.alterConfig(topic, config)
    if (options.json !== true) return context.note(`altered ${topic}`)
    const described = await admin.describeTopic(topic)
    context.out.json({ topic, config: described.config })
  })
}

export async function addPartitions(
  context: Context,
  topic: string,
  total: number,
  { json }: JsonOption,
): Promise<void> {
  await owning(context, false, async ({ admin }) => {
    await admin.createPartitions(topic, total)
    if (json === true) context.out.json({ topic, partitions: total })
    else context.note(`${topic} has ${count(total, 'partition')}`)
  })
}

export interface TrimOptions extends JsonOption {
  readonly before: string
  readonly partitions?: readonly number[]
}

export async function trimTopic(context: Context, topic: string, options: TrimOptions): Promise<void> {
  const before = parsePosition(options.before, '--before')
  await owning(context, false, async engine => {
    using lookup = await engine.lookup(topic)
    const partitions = options.partitions ?? Array.from({ length: lookup.partitions }, (_, partition) => partition)
    const trimmed: { partition: number; logStartOffset: number }[] = []
    for (const partition of partitions) {
      const offset = resolvePosition(before, lookup, partition, partitions.length === 1)
      trimmed.push({ partition, ...(await engine.admin.deleteRecords(topic, partition, offset)) })
    }
    if (options.json === true) context.out.json({ topic, partitions: trimmed })
    else
      for (const { partition, logStartOffset } of trimmed)
        context.note(`${topic}/${partition} begins at ${logStartOffset}`)
  })
}

export async function deleteTopics(context: Context, topics: readonly string[], { json }: JsonOption): Promise<void> {
  await owning(context, false, async (engine: Millrace) => {
    const { admin } = engine
    for (const topic of topics) await admin.describeTopic(topic) // all of them, or none
    for (const topic of topics) await admin.deleteTopic(topic)
    if (json === true) context.out.json({ topics })
    else context.note(`deleted ${topics.join(', ')}`)
  })
}

/** @param clears `KEY=` stands for the default */
export function parseConfig(pairs: readonly string[], clears: true): Record<string, string | null>
export function parseConfig(pairs: readonly string[], clears: false): Record<string, string>
export function parseConfig(pairs: readonly string[], clears: boolean): Record<string, string | null> {
  const config: Record<string, string | null> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const value = pair.slice(at + 1)
    if (at <= 0 || (value === '' && !clears)) {
      throw new UsageError(`--config cannot be "${pair}"`, 'Give KEY=VALUE, such as retention.ms=86400000.')
    }
    config[pair.slice(0, at)] = value === '' ? null : value
  }
  return config
}
