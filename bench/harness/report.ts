/** Results as a table for people and as JSON for programs. Pure functions. */
import { cpus, release } from 'node:os'
import { type BenchCase, type CaseResult, ratioOf, type Spread, type Unit } from './case.ts'

/** A case that ran, with what it measured. */
export interface Row {
  readonly benchCase: BenchCase
  readonly result: CaseResult
}

/** One entry of the file that `--json` writes. */
export interface JsonRow {
  readonly case: string
  readonly value: number
  readonly unit: Unit
  readonly limit: number
  readonly ratio: number
}

export function toJsonRows(rows: readonly Row[]): JsonRow[] {
  return rows.map(({ benchCase: { name, unit }, result }) => ({
    case: name,
    value: result.value,
    unit,
    limit: result.limit,
    ratio: ratioOf(unit, result),
  }))
}

const PREFIXES = ['', 'k', 'M', 'G', 'T']
const DIGITS = 3

/** Three digits and the unit: `31.2 M records/s`, `4.85 GB/s`, `7.02 µs`. */
export function formatValue(value: number, unit: Unit): string {
  if (unit === 'us') return `${formatDigits(value)} µs`
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.abs(value) || 1) / 3), 0), PREFIXES.length - 1)
  const scaled = `${formatDigits(value / 1000 ** power)} ${PREFIXES[power]}`
  if (unit === 'bytes/s') return `${scaled}B/s`
  if (unit === 'bytes') return `${scaled}B`
  return power === 0 ? `${scaled}${unit}` : `${scaled} ${unit}`
}

function formatDigits(value: number): string {
  const whole = Math.max(Math.floor(Math.log10(Math.abs(value) || 1)) + 1, 1)
  return value.toFixed(Math.max(DIGITS - whole, 0))
}

/** `-4 %…+2 %`: how far the slowest and the fastest round were from the median. */
export function formatSpread(median: number, spread: Spread | undefined): string {
  if (spread === undefined) return ''
  const percent = (end: number): string => {
    const off = Math.round((end / median - 1) * 100)
    return `${off > 0 ? '+' : ''}${off} %`
  }
  return `${percent(spread.low)}…${percent(spread.high)}`
}

const HEADINGS = ['case', 'value', 'rounds', 'limit', 'rounds', 'ratio', 'bar', 'measured against']
const LEFT_ALIGNED = new Set([0, 7])

/** Lines of the table, the notes below it. */
export function formatTable(rows: readonly Row[]): string[] {
  const cells = [HEADINGS, ...rows.map(formatRow)]
  const widths = HEADINGS.map((_, column) => Math.max(...cells.map(row => (row[column] as string).length)))
  const lines = cells.map(row => formatLine(row, widths))
  lines.splice(1, 0, widths.map(width => '─'.repeat(width)).join('──'))
  const notes = rows.flatMap(({ benchCase, result }) => (result.note ? [`${benchCase.name}: ${result.note}`] : []))
  return notes.length === 0 ? lines : [...lines, '', ...notes]
}

function formatLine(row: readonly string[], widths: readonly number[]): string {
  const padded = row.map((cell, column) => {
    const width = widths[column] as number
    return LEFT_ALIGNED.has(column) ? cell.padEnd(width) : cell.padStart(width)
  })
  return padded.join('  ').trimEnd()
}

function formatRow({ benchCase, result }: Row): string[] {
  const { name, unit, bar, limitName } = benchCase
  const ratio = ratioOf(unit, result)
  return [
    name,
    formatValue(result.value, unit),
    formatSpread(result.value, result.valueSpread),
    formatValue(result.limit, unit),
    formatSpread(result.limit, result.limitSpread),
    ratio.toFixed(2),
    bar === undefined ? '' : `${ratio >= bar ? '✓' : '✗'} ≥ ${bar}`,
    limitName,
  ]
}

/** What the numbers were measured on, in one line. */
export function describeMachine(directory: string, rounds: number): string {
  const cores = cpus()
  const model = cores[0]?.model.trim() || process.arch
  const system = `${process.platform} ${release()}, Node.js ${process.versions.node}`
  return `${cores.length} × ${model}, ${system}; medians of ${rounds} rounds in ${directory}`
}
