/** Whether a schema may follow the versions of its subject: the levels of Confluent's registry over Avro's resolution. Pure functions. */
import type avsc from 'avsc'
import { SCHEMA_PROBLEMS_MAX } from '../base/limits.ts'
import type { SchemaConflict } from '../broker/schema-service.ts'
import type { Compatibility } from '../store/schemas.ts'
import { resolveSchema } from './resolution.ts'

/** Who has to read whom, and of which versions. */
interface Demand {
  /** The new schema reads what the versions wrote. */
  readonly backward: boolean
  /** The versions read what the new schema writes. */
  readonly forward: boolean
  /** All versions rather than the newest. */
  readonly isTransitive: boolean
}

export const DEFAULT_COMPATIBILITY: Compatibility = 'BACKWARD'

export const DEMANDS: Readonly<Record<Compatibility, Demand>> = {
  NONE: { backward: false, forward: false, isTransitive: false },
  BACKWARD: { backward: true, forward: false, isTransitive: false },
  BACKWARD_TRANSITIVE: { backward: true, forward: false, isTransitive: true },
  FORWARD: { backward: false, forward: true, isTransitive: false },
  FORWARD_TRANSITIVE: { backward: false, forward: true, isTransitive: true },
  FULL: { backward: true, forward: true, isTransitive: false },
  FULL_TRANSITIVE: { backward: true, forward: true, isTransitive: true },
}

/** The first problems of a schema beside one version; empty when they go together. */
export function conflictsWith(
  schema: avsc.Type,
  version: number,
  registered: avsc.Type,
  { backward, forward }: Demand,
): SchemaConflict[] {
  const found: SchemaConflict[] = []
  const demand = (direction: SchemaConflict['direction'], reader: avsc.Type, writer: avsc.Type): void => {
    const resolution = resolveSchema(reader, writer)
    if (typeof resolution === 'function') return
    for (const { path, reason } of resolution) found.push({ version, direction, path, reason })
  }
  if (backward) demand('backward', schema, registered)
  if (forward) demand('forward', registered, schema)
  return found.slice(0, SCHEMA_PROBLEMS_MAX)
}
