/** The command line of the soak and its report. Main thread. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runSoak, type SoakReport } from './soak.ts'
import type { Counts } from './tasks.ts'
import type { Vitals } from './vitals.ts'

const USAGE = `npm run soak -- [options]

  --seconds N   how long, default 3600
  --dir PATH    work in a temporary folder below PATH, default ${tmpdir()}
  --seed N      of the records, default a new one
  --help        print this`

const HOUR_SECONDS = 3_600
/** Longer is a typing error. */
const SECONDS_MAX = 30 * 24 * HOUR_SECONDS
const SEED_MAX = 0xffff_ffff
/** Between two lines of progress. */
const LINE_SECONDS = 60

interface Options {
  readonly seconds: number
  readonly directory: string
  readonly seed: number
  readonly help: boolean
}

/** Returns the exit code. */
export async function soakMain(args: readonly string[], out: (text: string) => void): Promise<number> {
  let options: Options
  try {
    options = parse(args)
  } catch (error) {
    out(`${(error as Error).message}\n\n${USAGE}`)
    return 2
  }
  if (options.help) {
    out(USAGE)
    return 0
  }
  const directory = mkdtempSync(join(options.directory, 'millrace-soak-'))
  try {
    out(`${options.seconds} s in ${directory}, seed ${options.seed}`)
    const report = await runSoak({ ...options, directory, progress: progressLines(out) })
    out(formatReport(report))
    return report.fault === undefined ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: String(HOUR_SECONDS) },
      dir: { type: 'string', default: tmpdir() },
      seed: { type: 'string', default: String(Math.floor(Math.random() * SEED_MAX)) },
      help: { type: 'boolean', default: false },
    },
  })
  const seconds = whole('seconds', values.seconds, 1, SECONDS_MAX)
  return { seconds, directory: values.dir, seed: whole('seed', values.seed, 0, SEED_MAX), help: values.help }
}

function whole(name: string, text: string, least: number, most: number): number {
  const number = Number(text)
  if (text.trim() !== '' && Number.isInteger(number) && number >= least && number <= most) return number
  throw new Error(`--${name} takes a whole number from ${least} to ${most}, not "${text}"`)
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MiB`

function progressLines(out: (text: string) => void): (seconds: number, counts: Counts, vitals: Vitals) => void {
  let nextSeconds = LINE_SECONDS
  return (seconds, { appended, tail, head, lookups }, { anonymousBytes, descriptors }) => {
    if (seconds < nextSeconds) return
    nextSeconds += LINE_SECONDS
    const done = `${appended} appended, ${tail} + ${head} read, ${lookups} looked up`
    out(`${seconds.toFixed(0).padStart(6)} s  ${done}, ${mib(anonymousBytes)} anonymous, ${descriptors} descriptors`)
  }
}

function formatReport({ seconds, counts, flatness, events, fault }: SoakReport): string {
  const { appended, tail, head, passes, table, tablePasses, lookups, overtaken, removed, compacted } = counts
  const { first, last } = flatness
  const lines = [
    `appended           ${appended} records in ${seconds.toFixed(0)} s`,
    `read at the tail   ${tail} records`,
    `read from the head ${head} records in ${passes} passes, overtaken by retention ${overtaken} times`,
    `compacted topic    ${table} records in ${tablePasses} passes`,
    `looked up          ${lookups} records`,
    `taken away         ${removed} records by retention, ${compacted} by compaction`,
    `anonymous memory   ${mib(first.anonymousBytes)} in the second quarter, ${mib(last.anonymousBytes)} in the last`,
    `descriptors        ${first.descriptors} in the second quarter, ${last.descriptors} in the last`,
    ...events.map(event => `event              ${event}`),
    fault === undefined ? 'every record agreed with the model' : `FAILED: ${fault}`,
  ]
  return lines.join('\n')
}
