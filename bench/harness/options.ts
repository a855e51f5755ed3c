/** The command line of the benchmark: `npm run bench -- [--json FILE] [--only TEXT] [--rounds N] [--dir PATH] [--limits]`. */
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'

export interface Options {
  /** Where the results go as JSON, besides the table. */
  readonly json?: string
  /** Only cases whose name contains this. */
  readonly only: string
  readonly rounds: number
  /** Parent of the temporary folder that is measured in; it decides which disk is. */
  readonly directory: string
  /** The limits alone, without the engine. */
  readonly limits: boolean
  readonly list: boolean
  readonly help: boolean
}

export const USAGE = `npm run bench -- [options]

  --json FILE   also write [{ case, value, unit, limit, ratio }] to FILE
  --only TEXT   only the cases whose name contains TEXT
  --rounds N    counted rounds of each case, default 5; the median is printed
  --dir PATH    measure in a temporary folder below PATH, default ${tmpdir()}
  --limits      measure the physical bounds alone
  --list        print the names of the cases
  --help        print this`

/** More rounds than this are a typing error. */
const ROUNDS_MAX = 1000

/** @throws an error with a message for the user */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'string' },
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: '5' },
      dir: { type: 'string', default: tmpdir() },
      limits: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX) {
    throw new Error(`--rounds takes a whole number from 1 to ${ROUNDS_MAX}, not "${values.rounds}"`)
  }
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    only: values.only,
    rounds,
    directory: values.dir,
    limits: values.limits,
    list: values.list,
    help: values.help,
  }
}
