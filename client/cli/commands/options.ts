/** What the commands have in common: options, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { TOPIC_PARTITIONS_MAX } from '../../../engine/base/limits.ts'
import type { Codec } from '../../../engine/format/compression.ts'
import type { Context } from '../context.ts'

export const PARTITIONS_MAX = TOPIC_PARTITIONS_MAX

const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export interface JsonOption {
  readonly json?: boolean
}

/** What a command that was chosen works with. */
export type ContextOf = (command: Command) => Context

export const json = (shape: string): Option => new Option('--json', `print JSON: ${shape}`)

export const config = (text: string): Option =>
  new Option('-c, --config <key=value>', text).argParser(repeated).default([], 'none')

export const from = (): Option =>
  new Option('--from <position>', 'start, end, an offset, -N before the end, or @TIME').default('start')

export const to = (): Option => new Option('--to <position>', 'ends in front of it; as --from; default: end')

export const partitions = (): Option =>
  new Option('-p, --partitions <numbers>', 'with commas between; default: all').argParser(text =>
    text.split(',').map(part => wholeNumber(0, PARTITIONS_MAX - 1)(part)),
  )

export const compression = (): Option =>
  new Option('-z, --compression <codec>', 'of the batches').choices(CODECS).default('none')

export function repeated(value: string, before: readonly string[]): string[] {
  return [...before, value]
}

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return text => {
    const number = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
    if (Number.isSafeInteger(number) && number >= min && number <= max) return number
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min} on` : `from ${min} to ${max}`
    throw new InvalidArgumentError(`Give a whole number ${range}.`)
  }
}
