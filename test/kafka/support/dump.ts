/**
 * Kafka's `DumpLogSegments` as a judge. It ends with 0 whatever it finds and tells of faults in words, so everything that it
 * says is read: a line of a known shape is a fact, and any other line is a complaint.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { java } from '../../../bench/kafka/java.ts'

export interface DumpedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly keyBytes: number
  readonly valueBytes: number
  readonly headerKeys: string
  /** Key and value as the tool prints them, without what is null. Empty for control records. */
  readonly content: string
}

export interface DumpedBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly count: number
  readonly leaderEpoch: number
  readonly producerId: number
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly deleteHorizonMs: number | undefined
  readonly timestampType: string
  readonly maxTimestamp: number
  readonly codec: string
  readonly records: DumpedRecord[]
}

/** What the tool says of one folder. */
export interface Dumped {
  readonly batches: DumpedBatch[]
  offsetEntries: number
  timeEntries: number
  /** Index files that passed its sanity check; an empty offset index counts as well. */
  sane: number
  /** Lines of `.snapshot` and `.txnindex` files. */
  readonly producers: string[]
  readonly abortedTransactions: string[]
  /** Offsets that are missing inside a file: 'a, b' when b follows a. */
  readonly gaps: string[]
  readonly complaints: string[]
}

const TOOL = 'org.apache.kafka.tools.DumpLogSegments'
const FILE = /^\d{20}\.(log|index|timeindex|snapshot|txnindex)$/
const BATCH =
  /^baseOffset: (\d+) lastOffset: (\d+) count: (\d+) baseSequence: -?\d+ lastSequence: -?\d+ producerId: (-?\d+) producerEpoch: -?\d+ partitionLeaderEpoch: (\d+) isTransactional: (true|false) isControl: (true|false) deleteHorizonMs: (?:OptionalLong\.empty|OptionalLong\[(\d+)\]) position: \d+ (CreateTime|LogAppendTime): (-?\d+) size: \d+ magic: 2 compresscodec: (\w+) crc: \d+ isvalid: true$/
const RECORD =
  /^\| offset: (\d+) (?:CreateTime|LogAppendTime): (-?\d+) keySize: (-?\d+) valueSize: (-?\d+) sequence: -?\d+ headerKeys: \[(.*?)\](.*)$/
const MISSING = /^ {2}(-?\d+) is followed by (\d+)$/

/**
 * Has the tool read folders: all logs with their records, every index entry against its log, and the sanity check of Kafka's
 * start. Two runs of it, however many the folders.
 */
export async function dumpFolders(folders: readonly string[]): Promise<Map<string, Dumped>> {
  const files = folders.flatMap(folder =>
    readdirSync(folder).flatMap(name => (FILE.test(name) ? [join(folder, name)] : [])),
  )
  const all = new Map(folders.map(folder => [folder, emptyDump()]))
  const of = (file: string): Dumped => {
    const dumped = all.get(file.slice(0, file.lastIndexOf('/')))
    if (dumped === undefined) throw new Error(`the tool speaks of ${file}`)
    return dumped
  }
  const indexes = files.filter(file => /index$/.test(file) && !file.endsWith('.txnindex'))
  const [deep, sanity] = await Promise.all([
    java(TOOL, ['--deep-iteration', '--print-data-log', '--files', files.sort().join(',')]),
    java(TOOL, ['--index-sanity-check', '--files', indexes.join(',')]),
  ])
  readDeep(deep.stdout, of)
  readSanity(sanity.stdout, of)
  const first = all.get(folders[0] as string) as Dumped
  readErrors(deep.stderr, of, first)
  readErrors(sanity.stderr, of, first)
  for (const { code, output } of [deep, sanity]) if (code !== 0) first.complaints.push(output.slice(-2_000))
  return all
}

const emptyDump = (): Dumped => ({
  batches: [],
  offsetEntries: 0,
  timeEntries: 0,
  sane: 0,
  producers: [],
  abortedTransactions: [],
  gaps: [],
  complaints: [],
})

const linesOf = (text: string): string[] => text.split('\n').filter(line => line !== '')

function readDeep(text: string, of: (file: string) => Dumped): void {
  let dumped: Dumped | undefined
  let file = ''
  for (const line of linesOf(text)) {
    const next = /^Dumping (.+)$/.exec(line)?.[1]
    if (next !== undefined) {
      file = next
      dumped = of(file)
      continue
    }
    if (dumped === undefined) throw new Error(`the tool begins with ${line}`)
    if (/^Log starting offset: \d+$/.test(line) || line === `${file} is empty.`) continue
    if (/^offset: \d+ position: \d+$/.test(line)) dumped.offsetEntries += 1
    else if (/^timestamp: \d+ offset: \d+$/.test(line)) dumped.timeEntries += 1
    else if (line.startsWith('producerId: ')) dumped.producers.push(line)
    else if (/^version: 0 producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+$/.test(line))
      dumped.abortedTransactions.push(line)
    else if (!readBatch(line, dumped) && !readRecord(line, dumped)) dumped.complaints.push(line)
  }
}

function readBatch(line: string, { batches }: Dumped): boolean {
  const match = BATCH.exec(line)
  if (match === null) return false
  const horizon = match[8]
  batches.push({
    baseOffset: Number(match[1]),
    lastOffset: Number(match[2]),
    count: Number(match[3]),
    producerId: Number(match[4]),
    leaderEpoch: Number(match[5]),
    isTransactional: match[6] === 'true',
    isControl: match[7] === 'true',
    deleteHorizonMs: horizon === undefined ? undefined : Number(horizon),
    timestampType: match[9] as string,
    maxTimestamp: Number(match[10]),
    codec: match[11] as string,
    records: [],
  })
  return true
}

function readRecord(line: string, { batches }: Dumped): boolean {
  const match = RECORD.exec(line)
  if (match === null) return false
  batches.at(-1)?.records.push({
    offset: Number(match[1]),
    timestamp: Number(match[2]),
    keyBytes: Number(match[3]),
    valueBytes: Number(match[4]),
    headerKeys: match[5] as string,
    content: (match[6] as string).trim(),
  })
  return true
}

function readSanity(text: string, of: (file: string) => Dumped): void {
  let file = ''
  for (const line of linesOf(text)) {
    file = /^Dumping (.+)$/.exec(line)?.[1] ?? file
    if (line === `${file} passed sanity check.` || line === `${file} is empty.`) of(file).sane += 1
    else if (line !== `Dumping ${file}`) of(file).complaints.push(line)
  }
}

/**
 * Faults are told on standard error, under the name of their file. The tool expects each record behind the one before and each file
 * to begin at 0, so it also names the first record of every other file, which is no fault, and the gaps that compaction leaves, which
 * are noted as such.
 */
function readErrors(text: string, of: (file: string) => Dumped, other: Dumped): void {
  let dumped = other
  for (const line of linesOf(text)) {
    const heading = /^(Non-consecutive offsets in |Mismatches in :|Found .+ in :)(.+)$/.exec(line)
    if (heading !== null) dumped = of(heading[2] as string)
    if (heading?.[1]?.startsWith('Non-consecutive') === true) continue
    const missing = MISSING.exec(line)
    if (missing === null) dumped.complaints.push(line)
    else if (missing[1] !== '-1') dumped.gaps.push(`${missing[1]}, ${missing[2]}`)
  }
}
