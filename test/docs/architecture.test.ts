import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as limits from '../../engine/base/limits.ts'
import * as cases from '../../engine/log/recovery-cases.ts'
import { namedTable, ROOT, readDocument } from './support/markdown.ts'

const text = readDocument('docs/ARCHITECTURE.md')

describe('docs/ARCHITECTURE.md', () => {
  test('the limits are those of the code', () => {
    const all: Readonly<Record<string, number>> = limits
    const documented = namedTable(text, 'limits').map(([name, value]) => [name, Number(value?.replaceAll(',', ''))])
    const actual = documented.map(([name]) => [name, all[name as string]])
    expect(documented).toEqual(actual)
  })

  test('every table of recovery is named', () => {
    const tables = Object.keys(cases).filter(name => name.endsWith('_CASES'))
    expect(tables.length).toBeGreaterThan(0)
    for (const table of tables) expect(text).toContain(`\`${table}\``)
  })

  test('the files to begin with are there', () => {
    const section = text.slice(text.indexOf('## Where to begin reading'), text.indexOf('## Threads'))
    let folder = ''
    const paths = [...section.matchAll(/`([a-z/-]+\.ts)`/g)].map(([, path]) => {
      if (path?.includes('/')) folder = path.slice(0, path.lastIndexOf('/'))
      return path?.includes('/') ? path : `${folder}/${path}`
    })
    expect(paths.length).toBeGreaterThan(15)
    expect(paths.filter(path => !existsSync(join(ROOT, path)))).toEqual([])
  })
})
