/**
 * The command line as it is written: a file in `commands/` for each group of commands, with their arguments, options and help. What
 * the commands do is loaded when one runs, so that `--help` need not wait for the engine.
 */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addCluster } from './commands/cluster.ts'
import { addFiles } from './commands/files.ts'
import { addGroups } from './commands/groups.ts'
import type { ContextOf } from './commands/options.ts'
import { addQueue } from './commands/queue.ts'
import { addRecords } from './commands/records.ts'
import { addSchemas } from './commands/schemas.ts'
import { addServe } from './commands/serve.ts'
import { addTopics } from './commands/topics.ts'
import type { Context, Streams } from './context.ts'
import type { Output } from './output.ts'

type MakeContext = (directory: string | undefined) => Context

/** @param makeContext from the value of `--dir` */
export function makeProgram(out: Output, { stderr }: Pick<Streams, 'stderr'>, makeContext: MakeContext): Command {
  const program = new Command('millrace')
    .description('Works with a Millrace data directory, beside a service that has it open too.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .option('-d, --dir <directory>', 'the data directory; default: the variable MILLRACE_DIR')
    .exitOverride()
    .configureOutput({
      writeOut: text => out.write(text),
      writeErr: text => stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error:/, 'millrace:')),
    })
    .showHelpAfterError('(add --help for help)')
    .addHelpText('after', HELP)
  const contextOf: ContextOf = command => makeContext(command.optsWithGlobals<{ dir?: string }>().dir)
  for (const add of [addTopics, addRecords, addGroups, addQueue, addFiles, addSchemas, addServe, addCluster])
    add(program, contextOf)
  return program
}

function packageVersion(): string {
  // Two folders up from the sources, three from dist/client/cli.
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch {
      // The other place.
    }
  }
  return 'unknown'
}

const HELP = `
Examples:
  export MILLRACE_DIR=./data
  millrace topics create orders --partitions 4
  echo '{"item":"tea"}' | millrace produce orders --key user-7
  millrace consume orders --json
  millrace consume orders --from -10 --follow
  millrace verify
  millrace serve

Data goes to stdout, messages go to stderr. Exit codes: 0 done, 1 failed or damage found, 2 wrong usage,
130 interrupted. Commands that only read work beside a service that has the directory open.`
