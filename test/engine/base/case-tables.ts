import { describe, expect, test } from 'vitest'
import { type CaseTable, matchingRows } from '../../../engine/base/case-table.ts'

type Fact = string | boolean

/** Every combination of the facts that a table knows. */
export function combinations<Facts extends Record<keyof Facts, Fact>>(table: CaseTable<Facts, string>): Facts[] {
  let all: Facts[] = [{} as Facts]
  for (const [name, values] of Object.entries(table.domains) as [keyof Facts, readonly Fact[]][]) {
    all = all.flatMap(facts => values.map(value => ({ ...facts, [name]: value })))
  }
  return all
}

/** Tests that each table has one row for everything that can happen, and none for what cannot. */
export function describeTables(tables: Readonly<Record<string, unknown>>): void {
  describe.each(Object.entries(tables) as [string, CaseTable<Record<string, Fact>, string>][])('%s', (_, table) => {
    test('has exactly one row for every combination of facts', () => {
      for (const facts of combinations(table)) {
        expect(matchingRows(table, facts), JSON.stringify(facts)).toHaveLength(1)
      }
    })

    test('has no row that stands for nothing', () => {
      const used = new Set(combinations(table).flatMap(facts => matchingRows(table, facts)))
      expect(used.size).toBe(table.rows.length)
    })
  })
}
