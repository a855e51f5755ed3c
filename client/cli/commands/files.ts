/** The commands that look at files as they lie on the disk: dump-log, verify. What they do is loaded when one runs. */
import type { Command } from 'commander'
import type { DumpOptions } from '../dump-log.ts'
import type { VerifyOptions } from '../verify.ts'
import { type ContextOf, json } from './options.ts'

export function addFiles(program: Command, contextOf: ContextOf): void {
  program
    .command('dump-log')
    .description('print the batches of .log files, and the entries of .index and .timeindex files')
    .argument('<files...>')
    .option('-r, --records', 'also the records of each batch')
    .addOption(json('a line for each batch, record or entry'))
    .addHelpText('after', DUMP_HELP)
    .action(async (files: readonly string[], options: DumpOptions, command: Command) =>
      (await import('../dump-log.ts')).dumpLog(contextOf(command), files, options),
    )
  program
    .command('verify')
    .description('read everything: batches with their checksums, records, indexes, leader epochs')
    .argument('[topics...]', 'default: all')
    .option('--progress', 'show progress on stderr; default: when it is a terminal')
    .option('--no-progress', 'never show it')
    .addOption(json('one object with the figures and a list of findings'))
    .addHelpText('after', VERIFY_HELP)
    .action(async (topics: readonly string[], options: VerifyOptions, command: Command) =>
      (await import('../verify.ts')).verify(contextOf(command), topics, options),
    )
}

const DUMP_HELP = `
Examples:
  millrace dump-log ./data/orders-0/00000000000000000000.log
  millrace dump-log --records --json ./data/orders-0/*.log
  millrace dump-log ./data/orders-0/00000000000000000000.timeindex`

const VERIFY_HELP = `
Examples:
  millrace verify
  millrace verify orders --json | jq .findings

Ends with 1 when there is damage. What a crash left torn is listed and is no damage: the next owner cuts it off.`
