/** The commands `millrace groups …`. What they do is in `../groups.ts`, which is loaded when one runs. */
import { type Command, Option } from 'commander'
import type { ResetCommand } from '../groups.ts'
import { type ContextOf, type JsonOption, json, partitions, wholeNumber } from './options.ts'

export function addGroups(program: Command, contextOf: ContextOf): void {
  const groups = program
    .command('groups')
    .description('list, describe, reset and delete consumer groups')
    .addHelpText('after', HELP)
  groups
    .command('list')
    .description('ids and states of all groups')
    .addOption(json('a list of {groupId, state, groupType, protocolType}'))
    .action(async (options: JsonOption, command: Command) =>
      (await import('../groups.ts')).listGroups(contextOf(command), options),
    )
  groups
    .command('describe')
    .description('members, committed offsets and lag')
    .argument('[groups...]', 'default: all')
    .addOption(json('a list of groups with members and offsets'))
    .action(async (groupIds: readonly string[], options: JsonOption, command: Command) =>
      (await import('../groups.ts')).describeGroups(contextOf(command), groupIds, options),
    )
  groups
    .command('reset-offsets')
    .description('show where a group without members would go on, and with --execute let it')
    .argument('<group>')
    .option('--to <position>', 'start, end, an offset, or @TIME')
    .option('--shift <number>', 'so many records on, or back if it is negative', wholeNumber(-Number.MAX_SAFE_INTEGER))
    .option('-t, --topics <names>', 'with commas between; default: those with committed offsets', names)
    .addOption(partitions())
    .addOption(new Option('--dry-run', 'change nothing; this is the default').conflicts('execute'))
    .option('--execute', 'commit the offsets that are shown')
    .addOption(json('{groupId, executed, offsets: [{topic, partition, from, to}]}'))
    .action(async (groupId: string, options: ResetCommand, command: Command) =>
      (await import('../groups.ts')).resetOffsets(contextOf(command), groupId, options),
    )
  groups
    .command('delete')
    .description('delete groups without members, and what they committed')
    .argument('<groups...>')
    .addOption(json('a list of {groupId, error}'))
    .action(async (groupIds: readonly string[], options: JsonOption, command: Command) =>
      (await import('../groups.ts')).deleteGroups(contextOf(command), groupIds, options),
    )
}

const names = (text: string): string[] => text.split(',').filter(name => name !== '')

const HELP = `
Examples:
  millrace groups list
  millrace groups describe billing
  millrace groups reset-offsets billing --to start
  millrace groups reset-offsets billing --shift -10 --topics orders --execute
  millrace groups delete billing`
