/** The commands that write and read records: produce, consume, lookup, export, import. What they do is loaded when one runs. */
import { type Command, Option } from 'commander'
import type { ConsumeOptions, LookupOptions } from '../consume.ts'
import type { ImportOptions, ProduceOptions } from '../produce.ts'
import type { RangeOptions } from '../ranges.ts'
import {
  type ContextOf,
  compression,
  config,
  from,
  json,
  PARTITIONS_MAX,
  partitions,
  repeated,
  to,
  wholeNumber,
} from './options.ts'

export function addRecords(program: Command, contextOf: ContextOf): void {
  program
    .command('produce')
    .description('append records, one for each line of a file or of stdin')
    .argument('<topic>')
    .argument('[file]', 'default: stdin')
    .addOption(
      new Option(
        '-i, --input <kind>',
        'a line is a value, or a JSON object with value, key, headers, partition, timestamp',
      )
        .choices(['lines', 'ndjson'])
        .default('lines'),
    )
    .option('-k, --key <key>', 'key of every record')
    .option('-K, --key-delimiter <text>', 'what stands between key and value in each line')
    .addOption(header())
    .option('-p, --partition <number>', 'partition of every record', wholeNumber(0, PARTITIONS_MAX - 1))
    .option('-T, --timestamp <ms>', 'timestamp of every record; default: the clock', wholeNumber(-1))
    .addOption(compression())
    .option('-s, --schema <schema>', 'values are JSON, written as Avro: id, subject, or @FILE, which is registered')
    .addOption(json('{topic, count, partitions: [{partition, baseOffset, lastOffset, count}]}'))
    .addHelpText('after', PRODUCE_HELP)
    .action(async (topic: string, file: string | undefined, options: ProduceOptions, command: Command) =>
      (await import('../produce.ts')).produce(contextOf(command), topic, file, options),
    )
  program
    .command('consume')
    .description('print records')
    .argument('<topic>')
    .addOption(from())
    .addOption(to())
    .addOption(partitions())
    .option('-n, --number <records>', 'at most so many', wholeNumber(0))
    .option('-F, --follow', 'go on at the end and wait for more, until it is interrupted')
    .option('-f, --format <text>', 'with %t %p %o %T %d %k %K %v %V %h; default: %v\\n')
    .addOption(json('a line {topic, partition, offset, timestamp, key, value, headers} for each record'))
    .option('-a, --avro', 'values are Avro and become JSON')
    .addHelpText('after', CONSUME_HELP)
    .action(async (topic: string, options: ConsumeOptions, command: Command) =>
      (await import('../consume.ts')).consume(contextOf(command), topic, options),
    )
  program
    .command('lookup')
    .description('the record at an offset, the first one of a time or later, or the ends of each partition')
    .argument('<topic>')
    .option('-p, --partition <number>', 'default: all', wholeNumber(0, PARTITIONS_MAX - 1))
    .option(
      '-o, --offset <offset>',
      'the record there, or the first one behind it where it was compacted away',
      wholeNumber(0),
    )
    .option('-t, --time <time>', 'the first record of that time or later: ms since 1970, a date, or -15m')
    .option('-f, --format <text>', 'as of consume; default: %p %o %T %v\\n')
    .addOption(json('a line for each record; without --offset and --time a list of the ends'))
    .option('-a, --avro', 'values are Avro and become JSON')
    .addHelpText('after', LOOKUP_HELP)
    .action(async (topic: string, options: LookupOptions, command: Command) =>
      (await import('../consume.ts')).lookUp(contextOf(command), topic, options),
    )
  program
    .command('export')
    .description('print all records as NDJSON, for import')
    .argument('<topic>')
    .addOption(from())
    .addOption(to())
    .addOption(partitions())
    .addHelpText('after', EXPORT_HELP)
    .action(async (topic: string, options: RangeOptions, command: Command) =>
      (await import('../consume.ts')).exportRecords(contextOf(command), topic, options),
    )
  program
    .command('import')
    .description('append what export printed: keys, values, headers, timestamps and partitions; offsets are given anew')
    .argument('<topic>')
    .argument('[file]', 'default: stdin')
    .option('--create', 'create the topic first, and the data directory if there is none')
    .option('-p, --partitions <number>', 'of the new topic', wholeNumber(1, PARTITIONS_MAX), 1)
    .addOption(config('a configuration key of the new topic; may be repeated'))
    .addOption(compression())
    .addOption(json('{topic, count, partitions: [{partition, baseOffset, lastOffset, count}]}'))
    .addHelpText('after', IMPORT_HELP)
    .action(async (topic: string, file: string | undefined, options: ImportOptions, command: Command) =>
      (await import('../produce.ts')).importRecords(contextOf(command), topic, file, options),
    )
}

const header = (): Option =>
  new Option('-H, --header <name=value>', 'a header of every record; may be repeated')
    .argParser(repeated)
    .default([], 'none')

const PRODUCE_HELP = `
Examples:
  printf 'one\\ntwo\\n' | millrace produce orders
  millrace produce orders access.log --compression zstd
  echo 'user-7:hello' | millrace produce orders --key-delimiter :
  echo '{"key":"user-7","value":"hello","headers":{"source":"shell"}}' | millrace produce orders --input ndjson
  echo '{"item":"tea","count":2}' | millrace produce orders --schema @order.avsc

Bytes in NDJSON are a string, null, or {"base64":"…"}.`

const CONSUME_HELP = `
Examples:
  millrace consume orders --from -10
  millrace consume orders --from @2026-01-31T12:00:00Z --to @-1h
  millrace consume orders --partitions 0,2 --number 5 --format '%p %o %d %k=%v\\n'
  millrace consume orders --json | jq .value
  millrace consume orders --from end --follow

In a format: %t topic, %p partition, %o offset, %T timestamp, %d timestamp as a date, %k key, %K its length,
%v value, %V its length, %h headers as JSON, %% a percent sign, \\n \\t \\r \\0 \\\\. A length of -1 is null.
Partitions come one after another; with --follow as they have something. Bytes in JSON are a string where they
are UTF-8, else {"base64":"…"}.`

const LOOKUP_HELP = `
Examples:
  millrace lookup orders
  millrace lookup orders --partition 0 --offset 42
  millrace lookup orders --time 2026-01-31T12:00:00Z --json`

const EXPORT_HELP = `
Examples:
  millrace export orders > orders.ndjson
  millrace export orders --from @-1d | zstd > today.ndjson.zst`

const IMPORT_HELP = `
Examples:
  millrace import orders orders.ndjson --create --partitions 4
  millrace --dir ./old export orders | millrace --dir ./new import orders`
