/** The commands `millrace queue …`. What they do is in `../queue.ts`, which is loaded when one runs. */
import { type Command, Option } from 'commander'
import type { PeekOptions, PushOptions, RedriveOptions, TakeOptions } from '../queue.ts'
import { type ContextOf, type JsonOption, json, repeated, wholeNumber } from './options.ts'

const COUNT_MAX = 10_000

export function addQueue(program: Command, contextOf: ContextOf): void {
  const queue = program
    .command('queue')
    .description('list, describe, fill, look into, empty and delete queues, and bring dead letters back')
    .addHelpText('after', HELP)
  queue
    .command('list')
    .description('names of all queues, with their jobs')
    .addOption(json('a list of {queue, topics, available, delayed, deadLettered}'))
    .action(async (options: JsonOption, command: Command) =>
      (await import('../queue.ts')).listQueues(contextOf(command), options),
    )
  queue
    .command('describe')
    .description('settings, and the jobs of each partition')
    .argument('<queue>')
    .addOption(json('{group, config, members, topics}'))
    .action(async (name: string, options: JsonOption, command: Command) =>
      (await import('../queue.ts')).describeQueue(contextOf(command), name, options),
    )
  queue
    .command('push')
    .description('append jobs, one for each line of a file or of stdin, and make the topic a queue')
    .argument('<topic>')
    .argument('[file]', 'default: stdin')
    .option('-k, --key <key>', 'key of every job')
    .addOption(
      new Option('-H, --header <name=value>', 'a header of every job; may be repeated')
        .argParser(repeated)
        .default([], 'none'),
    )
    .option('--delay <ms>', 'not to be delivered before so many milliseconds', wholeNumber(0))
    .option('--create', 'create the topic first if it is not there, and the data directory')
    .addOption(json('{topic, count, partitions: [{partition, baseOffset, lastOffset, count}]}'))
    .action(async (topic: string, file: string | undefined, options: PushOptions, command: Command) =>
      (await import('../queue.ts')).pushJobs(contextOf(command), topic, file, options),
    )
  queue
    .command('peek')
    .description('print jobs that are still to be done, and leave them as they are')
    .argument('<queue>')
    .option('-n, --number <jobs>', 'at most so many', wholeNumber(1, COUNT_MAX), 10)
    .option('-f, --format <text>', 'as of consume; default: %v\\n')
    .addOption(json('a line {…as consume, state, deliveryCount, dueMs} for each job'))
    .action(async (name: string, options: PeekOptions, command: Command) =>
      (await import('../queue.ts')).peekJobs(contextOf(command), name, options),
    )
  queue
    .command('take')
    .description('print jobs and acknowledge them: they are done then')
    .argument('<topic>')
    .option('-g, --group <group>', 'the share group; default: the name of the topic')
    .option('-n, --number <jobs>', 'at most so many', wholeNumber(1, COUNT_MAX), 1)
    .option('--wait <ms>', 'wait so long for the first', wholeNumber(0), 0)
    .option('-f, --format <text>', 'as of consume; default: %v\\n')
    .addOption(json('a line {…as consume, deliveryCount} for each job'))
    .action(async (topic: string, options: TakeOptions, command: Command) =>
      (await import('../queue.ts')).takeJobs(contextOf(command), topic, options),
    )
  queue
    .command('redrive')
    .description('bring dead letters back as new jobs')
    .argument('<topic>')
    .option('-g, --group <group>', 'the share group; default: the name of the topic')
    .option('-n, --number <letters>', 'at most so many; default: all', wholeNumber(1))
    .addOption(json('{topic, count}'))
    .action(async (topic: string, options: RedriveOptions, command: Command) =>
      (await import('../queue.ts')).redriveLetters(contextOf(command), topic, options),
    )
  queue
    .command('delete')
    .description('forget what was done and what not; the topic and its records stay')
    .argument('<queue>')
    .addOption(json('{queue}'))
    .action(async (name: string, options: JsonOption, command: Command) =>
      (await import('../queue.ts')).deleteQueue(contextOf(command), name, options),
    )
}

const HELP = `
Examples:
  echo 'to ann@example.org' | millrace queue push emails --create
  millrace queue list
  millrace queue peek emails --json
  millrace queue take emails --number 5 --wait 1000
  millrace queue redrive emails

A queue goes by the name of its share group, which is that of its topic unless another was chosen.`
