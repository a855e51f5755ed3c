/** `millrace schemas`: listing, showing, registering, checking and deleting Avro schemas, and their compatibility. */
import type { SchemaConflict } from '../../engine/broker/schema-service.ts'
import type { Compatibility, SchemaReference } from '../../engine/store/schemas.ts'
import type { Context } from './context.ts'
import { EXIT } from './failure.ts'
import { formatTable } from './output.ts'
import { chooseSchema, readSchemaText, withSchemas } from './schema-choice.ts'
import { owning } from './session.ts'

interface JsonOption {
  readonly json?: boolean
}

interface ReferenceOption extends JsonOption {
  readonly reference: readonly SchemaReference[]
}

export async function listSchemas(context: Context, subject: string | undefined, { json }: JsonOption): Promise<void> {
  const all = await withSchemas(context.directory, schemas => schemas.list())
  const shown = all.filter(entry => subject === undefined || entry.subject === subject)
  if (json === true) return context.out.json(shown.map(({ subject, version, id }) => ({ subject, version, id })))
  if (shown.length === 0) return
  const rows = shown.map(({ subject, version, id }) => [subject, version, id])
  context.out.line(formatTable(['subject', 'version', 'id'], rows))
}

export async function showSchema(
  context: Context,
  choice: string,
  number: number | undefined,
  { json }: JsonOption,
): Promise<void> {
  const entry = await withSchemas(context.directory, schemas =>
    number === undefined ? chooseSchema(schemas, choice) : schemas.version(choice, number),
  )
  const { subject, version, id, text, references } = entry
  const schema = JSON.parse(text) as unknown
  if (json === true)
    context.out.json({ subject, version, id, ...(references === undefined ? {} : { references }), schema })
  else context.out.line(JSON.stringify(schema, null, 2))
}

export async function registerSchema(
  context: Context,
  subject: string,
  file: string,
  { json, reference: references }: ReferenceOption,
): Promise<void> {
  const text = await readSchemaText(context, file)
  await owning(context, true, async engine => {
    const { id, version } = await engine.schemas.register(subject, text, { references })
    if (json === true) context.out.json({ subject, version, id })
    else context.note(`${subject} version ${version} has the id ${id}`)
  })
}

/** Whether a schema could be registered. Ends with 1 when not. */
export async function checkSchema(
  context: Context,
  subject: string,
  file: string,
  { json, reference: references, level }: ReferenceOption & { readonly level?: Compatibility },
): Promise<void> {
  const text = await readSchemaText(context, file)
  const options = { references, ...(level === undefined ? {} : { compatibility: level }) }
  const [report, isNew] = await withSchemas(context.directory, schemas => [
    schemas.check(subject, text, options),
    !schemas.subjects().includes(subject),
  ])
  const { isCompatible, compatibility, problems } = report
  if (!isCompatible) context.exitCode = EXIT.failed
  if (json === true) context.out.json({ subject, ...report })
  else if (isNew) context.out.line(`compatible: ${subject} has no version yet`)
  else if (isCompatible) context.out.line(`compatible with ${subject}, ${compatibility}`)
  else {
    context.out.line(`not compatible with ${subject}, ${compatibility}:`)
    for (const problem of problems) context.out.line(`  ${describeConflict(problem)}`)
  }
}

function describeConflict({ version, direction, path, reason }: SchemaConflict): string {
  const who = direction === 'backward' ? `it reads version ${version}` : `version ${version} reads it`
  return `${who}, ${path === '' ? 'the whole value' : path}: ${reason}`
}

/** Shows a level, or sets it: `default` takes away what was set. */
export async function schemaCompatibility(
  context: Context,
  level: Compatibility | 'default' | undefined,
  { json, subject }: JsonOption & { readonly subject?: string },
): Promise<void> {
  if (level !== undefined) {
    await owning(context, false, engine => engine.schemas.setCompatibility(level === 'default' ? null : level, subject))
  }
  const compatibility = await withSchemas(context.directory, schemas => schemas.compatibility(subject))
  if (json === true) context.out.json({ ...(subject === undefined ? {} : { subject }), compatibility })
  else context.out.line(compatibility)
}

export async function deleteSchema(
  context: Context,
  subject: string,
  version: number | undefined,
  { json }: JsonOption,
): Promise<void> {
  await owning(context, false, async engine => {
    if (version !== undefined) await engine.schemas.deleteVersion(subject, version)
    const versions = version === undefined ? await engine.schemas.deleteSubject(subject) : [version]
    if (json === true) context.out.json({ subject, versions })
    else context.note(`deleted ${subject} version ${versions.join(', ')}; records with their ids can still be read`)
  })
}
