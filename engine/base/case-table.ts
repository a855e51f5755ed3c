/**
 * Decisions as tables: facts in, one decision out, instead of nested conditions. Pure data; a test of each table walks every
 * combination of facts and demands that exactly one row stands for it.
 */
import { invariant } from './invariant.ts'

type Fact = string | boolean

/** One row: the facts it stands for, `any` where a fact does not matter. */
export type Row<Facts extends Record<keyof Facts, Fact>, Decision extends string> = {
  readonly [Name in keyof Facts]: Facts[Name] | 'any'
} & { readonly decision: Decision }

export interface CaseTable<Facts extends Record<keyof Facts, Fact>, Decision extends string> {
  /** Every value that a fact may have. */
  readonly domains: { readonly [Name in keyof Facts]: readonly Facts[Name][] }
  readonly rows: readonly Row<Facts, Decision>[]
}

/** The rows that stand for these facts: exactly one, as the test of the tables proves. */
export function matchingRows<Facts extends Record<keyof Facts, Fact>, Decision extends string>(
  table: CaseTable<Facts, Decision>,
  facts: Facts,
): Row<Facts, Decision>[] {
  const names = Object.keys(table.domains) as (keyof Facts)[]
  return table.rows.filter(row => names.every(name => row[name] === 'any' || row[name] === facts[name]))
}

export function decide<Facts extends Record<keyof Facts, Fact>, Decision extends string>(
  table: CaseTable<Facts, Decision>,
  facts: Facts,
): Decision {
  let known = decisions.get(table)
  if (known === undefined) {
    known = new Map()
    decisions.set(table, known)
  }
  let key = ''
  for (const name in table.domains) key += `${facts[name]}|`
  const decision = known.get(key) ?? findDecision(table, facts)
  known.set(key, decision)
  return decision as Decision
}

/** Decisions that were asked for before, by the facts in the order of the domains: some are asked for with every request. */
const decisions = new WeakMap<object, Map<string, string>>()

function findDecision<Facts extends Record<keyof Facts, Fact>>(table: CaseTable<Facts, string>, facts: Facts): string {
  const [row, ...others] = matchingRows(table, facts)
  invariant(row !== undefined && others.length === 0, 'exactly one row of a table stands for each combination of facts')
  return row.decision
}

/** The domain of a fact that holds or does not. */
export const BOOLEAN = [true, false] as const
