/** The commands `millrace schemas …`. What they do is in `../schemas.ts`, which is loaded when one runs. */
import type { Command } from 'commander'
import { type ContextOf, type JsonOption, json } from './options.ts'

export function addSchemas(program: Command, contextOf: ContextOf): void {
  const schemas = program
    .command('schemas')
    .description('list, show, register and check Avro schemas')
    .addHelpText('after', HELP)
  schemas
    .command('list')
    .description('subjects, versions and ids')
    .argument('[subject]', 'default: all')
    .addOption(json('a list of {subject, version, id}'))
    .action(async (subject: string | undefined, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).listSchemas(contextOf(command), subject, options),
    )
  schemas
    .command('show')
    .description('print a schema')
    .argument('<schema>', 'an id, or a subject for its newest version')
    .addOption(json('{subject, version, id, schema}'))
    .action(async (choice: string, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).showSchema(contextOf(command), choice, options),
    )
  schemas
    .command('register')
    .description('register a schema under a subject, by convention TOPIC-value or TOPIC-key')
    .argument('<subject>')
    .argument('<file>', '- for stdin')
    .addOption(json('{subject, version, id}'))
    .action(async (subject: string, file: string, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).registerSchema(contextOf(command), subject, file, options),
    )
  schemas
    .command('check')
    .description('does a schema read what the newest version of a subject wrote? Ends with 1 when not')
    .argument('<subject>')
    .argument('<file>', '- for stdin')
    .addOption(json('{subject, isCompatible, version, id, reason}'))
    .action(async (subject: string, file: string, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).checkSchema(contextOf(command), subject, file, options),
    )
}

const HELP = `
Examples:
  millrace schemas register orders-value order.avsc
  millrace schemas list
  millrace schemas show orders-value
  millrace schemas check orders-value newer.avsc`
