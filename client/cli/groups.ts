/** `millrace groups`: listing, describing, resetting and deleting consumer groups. */
import { fromErrorData } from '../../engine/base/errors.ts'
import type { TopicPartition } from '../consumer-types.ts'
import type { GroupDescription, OffsetChange, ResetTo } from '../group-types.ts'
import type { Millrace } from '../millrace.ts'
import type { Context } from './context.ts'
import { describeFailure, EXIT, UsageError } from './failure.ts'
import { count, formatTable } from './output.ts'
import { parsePosition } from './positions.ts'
import { looking, owning } from './session.ts'

interface JsonOption {
  readonly json?: boolean
}

export async function listGroups(context: Context, { json }: JsonOption): Promise<void> {
  await looking(context, async ({ admin }) => {
    const groups = await admin.listGroups()
    if (json === true) context.out.json(groups)
    else if (groups.length > 0) {
      const rows = groups.map(({ groupId, state, groupType }) => [groupId, state, groupType])
      context.out.line(formatTable(['group', 'state', 'type'], rows))
    }
  })
}

export async function describeGroups(
  context: Context,
  groupIds: readonly string[],
  { json }: JsonOption,
): Promise<void> {
  await looking(context, async ({ admin }) => {
    const ids = groupIds.length > 0 ? groupIds : (await admin.listGroups()).map(({ groupId }) => groupId)
    const described: GroupDescription[] = []
    for (const id of ids) described.push(await admin.describeGroup(id))
    if (json === true) context.out.json(described)
    else context.out.write(described.map(describe).join('\n'))
  })
}

function describe({ groupId, state, groupType, assignor, members, offsets }: GroupDescription): string {
  const facts = [state, groupType, ...(assignor === '' ? [] : [assignor]), count(members.length, 'member')]
  const numbers = new Map(members.map(({ memberId }, i) => [memberId, i + 1]))
  const rows = offsets.map(({ topic, partition, offset, highWatermark, lag, memberId }) => [
    topic,
    partition,
    offset ?? '-',
    highWatermark,
    lag ?? '-',
    numbers.get(memberId ?? '') ?? '-',
  ])
  const people = members.map(({ memberId, instanceId, clientId, clientHost, partitions }, i) => [
    i + 1,
    instanceId ?? memberId,
    clientId,
    clientHost,
    partitions.length,
  ])
  const lines = [`${groupId}  ${facts.join(', ')}`]
  if (rows.length > 0) lines.push(formatTable(['topic', 'partition', 'offset', 'highWatermark', 'lag', 'member'], rows))
  if (people.length > 0) lines.push(formatTable(['member', 'id', 'client', 'host', 'partitions'], people))
  return `${lines.join('\n').replaceAll('\n', '\n  ')}\n`
}

export interface ResetCommand extends JsonOption {
  readonly to?: string
  readonly shift?: number
  readonly topics?: readonly string[]
  readonly partitions?: readonly number[]
  readonly dryRun?: boolean
  readonly execute?: boolean
}

export async function resetOffsets(context: Context, groupId: string, options: ResetCommand): Promise<void> {
  const { execute = false, json, topics, partitions } = options
  const to = resetTo(options)
  if (partitions !== undefined && topics === undefined)
    throw new UsageError('--partitions is of no topic', 'Name the topics with --topics.')
  const work = async ({ admin }: Millrace): Promise<void> => {
    const chosen = {
      ...(topics === undefined ? {} : { topics }),
      ...(topics === undefined || partitions === undefined ? {} : { partitions: pairs(topics, partitions) }),
    }
    const offsets = await admin.resetOffsets(groupId, { to, dryRun: !execute, ...chosen })
    if (json === true) context.out.json({ groupId, executed: execute, offsets })
    else if (offsets.length > 0) context.out.line(tableOf(offsets))
    if (json !== true) context.note(execute ? `${groupId} goes on there` : 'nothing was changed; --execute does it')
  }
  await (execute ? owning(context, false, work) : looking(context, work))
}

function resetTo({ to, shift }: ResetCommand): ResetTo {
  if ((to === undefined) === (shift === undefined))
    throw new UsageError('where to is not clear', 'Say either --to POSITION or --shift NUMBER.')
  if (to === undefined) return { shift: shift as number }
  const position = parsePosition(to, '--to')
  switch (position.kind) {
    case 'start':
      return 'beginning'
    case 'end':
      return 'end'
    case 'offset':
      return { offset: position.offset }
    case 'time':
      return { timestamp: position.timestamp }
    case 'before-end':
      throw new UsageError(`--to cannot be "${to}"`, 'Give start, end, an offset, or @TIME; or go back with --shift.')
  }
}

const pairs = (topics: readonly string[], partitions: readonly number[]): TopicPartition[] =>
  topics.flatMap(topic => partitions.map(partition => ({ topic, partition })))

function tableOf(offsets: readonly OffsetChange[]): string {
  const rows = offsets.map(({ topic, partition, from, to }) => [topic, partition, from ?? '-', to])
  return formatTable(['topic', 'partition', 'from', 'to'], rows)
}

export async function deleteGroups(context: Context, groupIds: readonly string[], { json }: JsonOption): Promise<void> {
  await owning(context, false, async ({ admin }) => {
    const results = await admin.deleteGroups(groupIds)
    if (json === true) context.out.json(results)
    for (const { groupId, error } of results) {
      if (error !== undefined) {
        context.exitCode = EXIT.failed
        context.note(describeFailure(fromErrorData(error)).text)
      } else if (json !== true) context.note(`deleted ${groupId}`)
    }
  })
}
