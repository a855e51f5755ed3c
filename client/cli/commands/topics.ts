/** The commands `millrace topics …`. What they do is in `../topics.ts`, which is loaded when one runs. */
import { Argument, type Command } from 'commander'
import type { CreateOptions, DescribeOptions, TrimOptions } from '../topics.ts'
import { type ContextOf, config, type JsonOption, json, PARTITIONS_MAX, partitions, wholeNumber } from './options.ts'

export function addTopics(program: Command, contextOf: ContextOf): void {
  const topics = program
    .command('topics')
    .description('list, create, adopt, describe, alter, grow, trim and delete topics')
    .addHelpText('after', HELP)
  topics
    .command('list')
    .description('names of all topics')
    .addOption(json('a list of {topic, topicId, partitions}'))
    .action(async (options: JsonOption, command: Command) =>
      (await import('../topics.ts')).listTopics(contextOf(command), options),
    )
  topics
    .command('create')
    .description('create a topic, and the data directory if there is none')
    .argument('<topic>')
    .option('-p, --partitions <number>', 'number of partitions', wholeNumber(1, PARTITIONS_MAX), 1)
    .addOption(config('a configuration key, as docs/API.md has them; may be repeated'))
    .option('--if-not-exists', 'do nothing when the topic exists')
    .addOption(json('{topic, topicId, partitions, created}'))
    .action(async (topic: string, options: CreateOptions, command: Command) =>
      (await import('../topics.ts')).createTopic(contextOf(command), topic, options),
    )
  topics
    .command('adopt')
    .description("take in a topic whose folders were put into the data directory, such as Apache Kafka's")
    .argument('<topic>')
    .addOption(config('a configuration key, as docs/API.md has them; may be repeated'))
    .addOption(json('{topic, topicId, partitions}'))
    .action(async (topic: string, options: JsonOption & { config: readonly string[] }, command: Command) =>
      (await import('../topics.ts')).adoptTopic(contextOf(command), topic, options),
    )
  topics
    .command('describe')
    .description('offsets, sizes and configuration')
    .argument('[topics...]', 'default: all')
    .option('-a, --all', 'also the configuration keys that have their defaults')
    .addOption(json('a list, with every configuration key'))
    .action(async (names: readonly string[], options: DescribeOptions, command: Command) =>
      (await import('../topics.ts')).describeTopics(contextOf(command), names, options),
    )
  topics
    .command('alter')
    .description('set configuration keys of a topic')
    .argument('<topic>')
    .addOption(config('a key and its value; KEY= puts it back to its default; may be repeated'))
    .addOption(json('{topic, config}'))
    .action(async (topic: string, options: JsonOption & { config: readonly string[] }, command: Command) =>
      (await import('../topics.ts')).alterTopic(contextOf(command), topic, options),
    )
  topics
    .command('add-partitions')
    .description('give a topic more partitions; keys go to other partitions then')
    .argument('<topic>')
    .addArgument(new Argument('<total>', 'their new number').argParser(wholeNumber(1, PARTITIONS_MAX)))
    .addOption(json('{topic, partitions}'))
    .action(async (topic: string, total: number, options: JsonOption, command: Command) =>
      (await import('../topics.ts')).addPartitions(contextOf(command), topic, total, options),
    )
  topics
    .command('trim')
    .description('delete the oldest records of a topic')
    .argument('<topic>')
    .requiredOption('-b, --before <position>', 'what lies before it goes: end, an offset, -N, or @TIME')
    .addOption(partitions())
    .addOption(json('{topic, partitions: [{partition, logStartOffset}]}'))
    .action(async (topic: string, options: TrimOptions, command: Command) =>
      (await import('../topics.ts')).trimTopic(contextOf(command), topic, options),
    )
  topics
    .command('delete')
    .description('delete topics and their records')
    .argument('<topics...>')
    .addOption(json('{topics}'))
    .action(async (names: readonly string[], options: JsonOption, command: Command) =>
      (await import('../topics.ts')).deleteTopics(contextOf(command), names, options),
    )
}

const HELP = `
Examples:
  millrace topics create orders --partitions 4 --config retention.ms=86400000
  millrace topics describe orders
  millrace topics alter orders --config retention.ms=-1 --config flush.messages=
  millrace topics trim orders --before @-7d`
