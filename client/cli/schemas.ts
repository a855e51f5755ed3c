/** `millrace schemas`: listing, showing, registering and checking Avro schemas. */
import { parseSchema } from '../../engine/schema/avro-schema.ts'
import type { Context } from './context.ts'
import { EXIT } from './failure.ts'
import { formatTable } from './output.ts'
import { chooseSchema, readSchema, storedSchemas } from './schema-choice.ts'
import { owning } from './session.ts'

interface JsonOption {
  readonly json?: boolean
}

export async function listSchemas(context: Context, subject: string | undefined, { json }: JsonOption): Promise<void> {
  const all = await storedSchemas(context.directory)
  const shown = all.filter(entry => subject === undefined || entry.subject === subject)
  if (json === true) return context.out.json(shown.map(({ subject, version, id }) => ({ subject, version, id })))
  if (shown.length === 0) return
  const rows = shown.map(({ subject, version, id }) => [subject, version, id])
  context.out.line(formatTable(['subject', 'version', 'id'], rows))
}

export async function showSchema(context: Context, choice: string, { json }: JsonOption): Promise<void> {
  const { subject, version, id, text } = chooseSchema(await storedSchemas(context.directory), choice)
  const schema = JSON.parse(text) as unknown
  if (json === true) context.out.json({ subject, version, id, schema })
  else context.out.line(JSON.stringify(schema, null, 2))
}

export async function registerSchema(
  context: Context,
  subject: string,
  file: string,
  { json }: JsonOption,
): Promise<void> {
  const text = await readSchema(context, file)
  await owning(context, true, async engine => {
    const { id, version } = await engine.schemas.register(subject, text)
    if (json === true) context.out.json({ subject, version, id })
    else context.note(`${subject} version ${version} has the id ${id}`)
  })
}

/** Whether a schema could be registered: would its readers read what the newest version wrote? Ends with 1 when not. */
export async function checkSchema(
  context: Context,
  subject: string,
  file: string,
  { json }: JsonOption,
): Promise<void> {
  const text = await readSchema(context, file)
  const newest = (await storedSchemas(context.directory)).findLast(entry => entry.subject === subject)
  const reason = newest === undefined ? undefined : whyUnreadable(text, newest.text)
  const isCompatible = reason === undefined
  if (!isCompatible) context.exitCode = EXIT.failed
  const facts = { subject, isCompatible, ...(newest === undefined ? {} : { version: newest.version, id: newest.id }) }
  if (json === true) context.out.json(isCompatible ? facts : { ...facts, reason })
  else if (newest === undefined) context.out.line(`compatible: ${subject} has no version yet`)
  else if (isCompatible) context.out.line(`compatible: it reads what version ${newest.version} of ${subject} wrote`)
  else
    context.out.line(`not compatible: it does not read what version ${newest.version} of ${subject} wrote: ${reason}`)
}

/** Why values of one schema cannot be read as another; undefined when they can. */
function whyUnreadable(reader: string, writer: string): string | undefined {
  try {
    parseSchema(reader).createResolver(parseSchema(writer))
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
