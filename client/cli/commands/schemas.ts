/** The commands `millrace schemas …`. What they do is in `../schemas.ts`, which is loaded when one runs. */
import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import { COMPATIBILITIES, type Compatibility, type SchemaReference } from '../../../engine/store/schemas.ts'
import { type ContextOf, type JsonOption, json, wholeNumber } from './options.ts'

export function addSchemas(program: Command, contextOf: ContextOf): void {
  const schemas = program
    .command('schemas')
    .description('list, show, register, check and delete Avro schemas')
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
    .argument('<schema>', 'an id, or a subject')
    .argument('[version]', 'of the subject; default: the newest', wholeNumber(1, VERSION_MAX))
    .addOption(json('{subject, version, id, references, schema}'))
    .action(async (choice: string, version: number | undefined, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).showSchema(contextOf(command), choice, version, options),
    )
  schemas
    .command('register')
    .description('register a schema under a subject, by convention TOPIC-value or TOPIC-key')
    .argument('<subject>')
    .argument('<file>', '- for stdin')
    .addOption(reference())
    .addOption(json('{subject, version, id}'))
    .action(async (subject: string, file: string, options: ReferenceOption, command: Command) =>
      (await import('../schemas.ts')).registerSchema(contextOf(command), subject, file, options),
    )
  schemas
    .command('check')
    .description('could a schema be registered? Ends with 1 when not')
    .argument('<subject>')
    .argument('<file>', '- for stdin')
    .addOption(reference())
    .addOption(new Option('-l, --level <level>', "default: the subject's own").choices(COMPATIBILITIES))
    .addOption(json('{subject, isCompatible, compatibility, problems}'))
    .action(async (subject: string, file: string, options: ReferenceOption, command: Command) =>
      (await import('../schemas.ts')).checkSchema(contextOf(command), subject, file, options),
    )
  schemas
    .command('compatibility')
    .description('show or set what new versions have to agree with')
    .addArgument(new Argument('[level]', 'default: show it').choices([...COMPATIBILITIES, 'default']))
    .option('-s, --subject <subject>', 'of one subject; default: of all that have no level of their own')
    .addOption(json('{subject, compatibility}'))
    .action(async (level: Compatibility | 'default' | undefined, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).schemaCompatibility(contextOf(command), level, options),
    )
  schemas
    .command('delete')
    .description('delete a version, or all of a subject; records with their ids can still be read')
    .argument('<subject>')
    .argument('[version]', 'default: all', wholeNumber(1, VERSION_MAX))
    .addOption(json('{subject, versions}'))
    .action(async (subject: string, version: number | undefined, options: JsonOption, command: Command) =>
      (await import('../schemas.ts')).deleteSchema(contextOf(command), subject, version, options),
    )
}

interface ReferenceOption extends JsonOption {
  readonly reference: readonly SchemaReference[]
}

const VERSION_MAX = 0xffff_ffff

const reference = (): Option =>
  new Option('-r, --reference <name=subject:version>', 'a type that another subject defines; may be repeated')
    .argParser((text: string, before: readonly SchemaReference[]) => [...before, parseReference(text)])
    .default([], 'none')

function parseReference(text: string): SchemaReference {
  const [, name, subject, version] = /^([^=]+)=(.+):(\d+)$/.exec(text) ?? []
  if (name === undefined || subject === undefined) throw new InvalidArgumentError('It is NAME=SUBJECT:VERSION.')
  return { name, subject, version: Number(version) }
}

const HELP = `
Examples:
  millrace schemas register orders-value order.avsc
  millrace schemas list
  millrace schemas show orders-value
  millrace schemas show orders-value 1
  millrace schemas check orders-value newer.avsc
  millrace schemas register people-value person.avsc --reference shop.Address=address:1
  millrace schemas compatibility FULL --subject orders-value
  millrace schemas delete orders-value 1`
