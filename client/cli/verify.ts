/** `millrace verify`: reads every byte of a directory, says what is wrong, and ends with 1 when something is. */
import type { PartitionVerification } from '../../engine/log/verify-partition.ts'
import type { Finding } from '../../engine/log/verify-types.ts'
import type { Context } from './context.ts'
import { CommandError, EXIT } from './failure.ts'
import { count } from './output.ts'
import { Progress } from './progress.ts'
import {
  bytesOf,
  type DirectoryPlan,
  type DirectoryState,
  ownerOf,
  planDirectory,
  settlePartition,
} from './verify-directory.ts'
import { verifySegments } from './verify-threads.ts'

export interface VerifyOptions {
  readonly json?: boolean
  readonly progress?: boolean
}

interface Located extends Finding {
  readonly topic?: string
  readonly partition?: number
}

interface Report {
  readonly directory: string
  readonly state: DirectoryState
  readonly partitions: number
  readonly segments: number
  readonly logBytes: number
  readonly batches: number
  readonly records: number
  readonly indexEntries: number
  /** Findings that are damage. */
  readonly damaged: number
  readonly findings: readonly Located[]
}

export async function verify(context: Context, topics: readonly string[], options: VerifyOptions): Promise<void> {
  const { directory, signal } = context
  const owner = ownerOf(directory)
  const startMs = performance.now()
  const plan = await planDirectory(directory, topics)
  try {
    const report = await verifyPlan(context, plan, options)
    if (signal.aborted) return
    if (ownerOf(directory) !== owner) {
      throw new CommandError('the directory was opened or closed by a service while it was verified', 'Run it again.')
    }
    const seconds = (performance.now() - startMs) / 1_000
    if (options.json === true) context.out.json(report)
    else context.out.write(describe(report, seconds))
    if (report.damaged > 0) context.exitCode = EXIT.failed
  } finally {
    await plan.close()
  }
}

async function verifyPlan(context: Context, plan: DirectoryPlan, options: VerifyOptions): Promise<Report> {
  const segments = plan.partitions.flatMap(({ plan: { segments } }) => segments)
  const totalBytes = bytesOf(segments)
  const isShown = options.progress ?? context.stderr.isTTY === true
  const progress =
    isShown && totalBytes > 0 ? new Progress('verify', totalBytes, context.stderr, formatBytes) : undefined
  const verified = await verifySegments({
    segments,
    totalBytes,
    signal: context.signal,
    onProgress: bytes => progress?.update(bytes),
  })
  const results: { topic: string; partition: number; result: PartitionVerification }[] = []
  let next = 0
  for (const planned of plan.partitions) {
    if (context.signal.aborted) break
    const { topic, partition } = planned
    const own = verified.slice(next, next + planned.plan.segments.length)
    next += planned.plan.segments.length
    results.push({ topic, partition, result: await settlePartition(planned, own) })
  }
  progress?.finish()
  const sum = (figure: (result: PartitionVerification) => number): number =>
    results.reduce((total, { result }) => total + figure(result), 0)
  const findings: Located[] = [
    ...plan.findings,
    ...results.flatMap(({ topic, partition, result }) =>
      result.findings.map(finding => ({ topic, partition, ...finding })),
    ),
  ]
  return {
    directory: context.directory,
    state: plan.state,
    partitions: results.length,
    segments: sum(result => result.segments),
    logBytes: sum(({ logBytes }) => logBytes),
    batches: sum(({ batches }) => batches),
    records: sum(({ records }) => records),
    indexEntries: sum(({ indexEntries }) => indexEntries),
    damaged: findings.filter(({ severity }) => severity === 'damage').length,
    findings,
  }
}

const STATES: Readonly<Record<DirectoryState, string>> = {
  owned: 'a service has it open',
  closed: 'closed by its last owner',
  crashed: 'not closed by its last owner: the next one recovers it',
}

function describe(report: Report, seconds: number): string {
  const { state, partitions, segments, logBytes, batches, records, indexEntries, damaged, findings } = report
  const read = [
    count(partitions, 'partition'),
    count(segments, 'segment'),
    formatBytes(logBytes),
    `${batches.toLocaleString('en-US')} ${batches === 1 ? 'batch' : 'batches'}`,
    count(records, 'record'),
    `${indexEntries.toLocaleString('en-US')} index ${indexEntries === 1 ? 'entry' : 'entries'}`,
  ]
  const torn = findings.length - damaged
  const lines = [
    ...findings.map(describeFinding),
    `${report.directory}: ${STATES[state]}`,
    `read ${read.join(', ')} in ${seconds.toFixed(1)} s`,
    damaged === 0 ? 'no damage' : count(damaged, 'place').replace(/$/, ' with damage'),
    ...(torn === 0
      ? []
      : [`${count(torn, 'place')} that a crash left torn, which is cut off when the directory is opened`]),
  ]
  return `${lines.join('\n')}\n`
}

function describeFinding({ severity, path, position, reason, baseOffset, nextOffset }: Located): string {
  const lost =
    baseOffset === undefined || nextOffset === undefined ? '' : `; offsets ${baseOffset} to ${nextOffset - 1}`
  return `${severity}: ${path} at ${position}: ${reason}${lost}`
}

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB']

export function formatBytes(bytes: number): string {
  const power = bytes < 1_000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1)
  const value = bytes / 1_000 ** power
  return `${power === 0 ? value : value.toFixed(1)} ${UNITS[power]}`
}
