import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { checkTree, LINES_ADVISED, LINES_MAX, TOP_LEVEL, type Violation } from './rules.ts'
import { references } from './scan.ts'
import { readTree } from './tree.ts'

const HEAD = '/** What this file does. */\n'

/** Files that every import below may name. */
const LAYERS = [
  'engine/base',
  'engine/format',
  'engine/memory',
  'engine/store',
  'engine/log',
  'engine/broker',
  'engine/group',
  'engine/schema',
  'engine/cluster',
  'engine/kafka',
  'engine/http',
  'workers',
  'client',
  'bench',
  'test',
]

function check(files: Record<string, string>, folders: readonly string[] = TOP_LEVEL): readonly Violation[] {
  const base = LAYERS.map(layer => [`${layer}/empty.ts`, HEAD] as const)
  return checkTree({ folders, files: new Map([...base, ...Object.entries(files)]) }).violations
}

/** The rules broken by one import statement in a layer. */
function importing(layer: string, statement: string): string[] {
  return check({ [`${layer}/one.ts`]: `${HEAD}${statement}\n` }).map(({ rule }) => rule)
}

/** A relative specifier from a file in one layer to the empty file of another. */
function from(layer: string, to: string): string {
  return `${'../'.repeat(layer.split('/').length)}${to}/empty.ts`
}

describe('this project', () => {
  test('keeps the rules', () => {
    expect(checkTree(readTree()).violations).toEqual([])
  })

  test('is checked by a command, which fails and lists what is wrong', () => {
    const root = mkdtempSync(join(tmpdir(), 'millrace-layers-'))
    for (const folder of TOP_LEVEL) mkdirSync(join(root, folder))
    const command = fileURLToPath(new URL('./check.ts', import.meta.url))
    const run = () => spawnSync(process.execPath, [command, root], { encoding: 'utf8' })
    try {
      writeFileSync(join(root, 'client', 'one.ts'), HEAD)
      expect(run()).toMatchObject({ status: 0, stdout: 'layers: 1 files keep the rules\n', stderr: '' })
      writeFileSync(join(root, 'client', 'two.ts'), "import './three.ts'\n")
      expect(run()).toMatchObject({
        status: 1,
        stdout: '',
        stderr:
          'comment: client/two.ts does not begin with a /** comment */\n' +
          'import: client/two.ts:1 ./three.ts is not there\n' +
          '2 violations of the layer rules\n',
      })
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})

describe('the layer table', () => {
  // Row by row who may import whom; written out, so that a mistake in the table's own arithmetic shows.
  const ALLOWED: Record<string, readonly string[]> = {
    'engine/base': [],
    'engine/format': ['engine/base'],
    'engine/memory': ['engine/base', 'engine/format'],
    'engine/store': ['engine/base', 'engine/format'],
    'engine/log': ['engine/base', 'engine/format', 'engine/memory', 'engine/store'],
    'engine/broker': ['engine/base', 'engine/format', 'engine/memory', 'engine/store', 'engine/log'],
    'engine/group': ['engine/base', 'engine/format', 'engine/memory', 'engine/store', 'engine/log', 'engine/broker'],
    'engine/schema': ['engine/base', 'engine/format', 'engine/memory', 'engine/store', 'engine/log', 'engine/broker'],
    'engine/cluster': ['engine/base', 'engine/format', 'engine/memory', 'engine/store', 'engine/log', 'engine/broker'],
    'engine/kafka': LAYERS.slice(0, 9),
    'engine/http': LAYERS.slice(0, 9),
    workers: LAYERS.slice(0, 6),
    client: LAYERS.slice(0, 11),
    bench: LAYERS.slice(0, 13),
    test: LAYERS.slice(0, 14),
  }

  test.each(LAYERS)('of %s', layer => {
    for (const to of LAYERS) {
      const expected = to === layer || (ALLOWED[layer] as readonly string[]).includes(to) ? [] : ['layer']
      expect(importing(layer, `import { a } from '${from(layer, to)}'`), `${layer} -> ${to}`).toEqual(expected)
      expect(importing(layer, `import type { A } from '${from(layer, to)}'`), `${layer} -> ${to}`).toEqual(expected)
    }
  })

  test('names the line and both sides', () => {
    expect(check({ 'engine/format/one.ts': `${HEAD}\nimport { a } from '../log/empty.ts'\n` })).toEqual([
      {
        rule: 'layer',
        where: 'engine/format/one.ts:3',
        what: 'engine/format may not import engine/log (../log/empty.ts)',
      },
    ])
  })

  test.each(['export * from', 'export { a } from', 'import', 'const m = await import('])('counts %s', start => {
    const end = start.endsWith('(') ? ')' : ''
    expect(importing('engine/base', `${start} '../log/empty.ts'${end}`)).toEqual(['layer'])
  })

  test('lets the broker start workers by their address, and nobody below it', () => {
    const statement = (depth: string): string => `const url = new URL('${depth}workers/empty.ts', import.meta.url)`
    const substituted = `const url = new URL(\`../../workers/\${name}.ts\`, import.meta.url)`
    expect(importing('engine/broker', statement('../../'))).toEqual([])
    expect(importing('engine/broker', substituted)).toEqual([])
    expect(importing('bench', statement('../'))).toEqual([])
    expect(importing('engine/log', statement('../../'))).toEqual(['layer'])
    expect(importing('engine/log', substituted)).toEqual(['layer'])
    expect(importing('client', statement('../'))).toEqual(['layer'])
  })

  test('has a place for every file', () => {
    expect(check({ 'engine/extra/one.ts': HEAD, 'engine/one.ts': HEAD }).map(({ where }) => where)).toEqual([
      'engine/extra/one.ts',
      'engine/one.ts',
    ])
  })

  test('keeps some packages to some layers', () => {
    expect(importing('engine/memory', "import koffi from 'koffi'")).toEqual([])
    expect(importing('engine/log', "import koffi from 'koffi'")).toEqual(['reserved'])
    expect(importing('engine/broker', "import { open } from 'lmdb'")).toEqual(['reserved'])
    expect(importing('workers', "import { connect } from 'node:net'")).toEqual(['reserved'])
    expect(importing('engine/kafka', "import { connect } from 'node:net'")).toEqual([])
    expect(importing('bench', "import { open } from 'lmdb'")).toEqual([])
  })
})

describe('other rules', () => {
  test('an import of a file that is not there', () => {
    expect(importing('engine/log', "import { a } from './missing.ts'")).toEqual(['import'])
    expect(importing('engine/log', "import { a } from './empty'")).toEqual(['import'])
    expect(importing('test', "const url = new URL('./missing.ts', import.meta.url)")).toEqual(['import'])
    expect(importing('test', "const url = new URL('./golden.json', import.meta.url)")).toEqual([])
  })

  test('a cycle, once, with the way around', () => {
    const violations = check({
      'client/a.ts': `${HEAD}import './b.ts'\n`,
      'client/b.ts': `${HEAD}import type { C } from './c.ts'\n`,
      'client/c.ts': `${HEAD}export * from './a.ts'\n`,
      'client/d.ts': `${HEAD}import './a.ts'\n`,
    })
    expect(violations).toEqual([
      {
        rule: 'cycle',
        where: 'client/a.ts',
        what: 'is in a cycle of imports: client/a.ts -> client/b.ts -> client/c.ts -> client/a.ts',
      },
    ])
    expect(importing('client', "import './one.ts'")).toEqual(['cycle'])
  })

  test('a file that is too long, and advice for one that is long', () => {
    const lines = (count: number): string => HEAD + '\n'.repeat(count - 1)
    expect(check({ 'client/one.ts': lines(LINES_MAX) })).toEqual([])
    expect(check({ 'client/one.ts': lines(LINES_MAX + 1) }).map(({ rule }) => rule)).toEqual(['length'])
    const advised = (count: number): readonly string[] =>
      checkTree({ folders: TOP_LEVEL, files: new Map([['client/one.ts', lines(count)]]) }).advice
    expect(advised(LINES_ADVISED)).toEqual([])
    expect(advised(LINES_ADVISED + 1)).toHaveLength(1)
  })

  test('a source that does not begin with its comment; tests may', () => {
    const plain = 'export const a = 1\n'
    expect(check({ 'engine/log/one.ts': plain }).map(({ rule }) => rule)).toEqual(['comment'])
    expect(check({ 'client/cli/one.ts': `#!/usr/bin/env node\n${HEAD}` })).toEqual([])
    expect(check({ 'client/cli/one.ts': `#!/usr/bin/env node\n${plain}` }).map(({ rule }) => rule)).toEqual(['comment'])
    expect(check({ 'test/one.test.ts': plain })).toEqual([])
  })

  test('top-level folders: none beside the six, and none missing', () => {
    expect(check({}, [...TOP_LEVEL, '.git', '.ci', 'node_modules', 'dist'])).toEqual([])
    expect(check({}, [...TOP_LEVEL, 'src'])).toMatchObject([{ rule: 'top-level', where: 'src/' }])
    expect(check({}, TOP_LEVEL.slice(1))).toMatchObject([{ rule: 'top-level', where: 'bench/', what: 'is missing' }])
  })
})

describe('the scan', () => {
  const specifiers = (source: string): string[] => references(source).map(({ specifier }) => specifier)

  test('finds every kind of reference, on one line or several', () => {
    const source = [
      "import a from './a.ts'",
      "import { b,\n  type C } from './b.ts'",
      'import * as d from "./d.ts"',
      "import type { E } from './e.ts'",
      "import './f.ts'",
      "export { g } from './g.ts'",
      "export type { H } from './h.ts'",
      "export * as i from './i.ts'",
      "const j = await import('./j.ts')",
      "type K = import('./k.ts').K",
      "const l = new URL('./l.ts', import.meta.url)",
      'const m = new URL(\n  `./m.ts`,\n  import.meta.url)',
    ].join('\n')
    expect(specifiers(source)).toEqual([...'abdefghijklm'].map(letter => `./${letter}.ts`))
    expect(references(source)[1]).toEqual({ kind: 'import', specifier: './b.ts', line: 3 })
    expect(references(source).map(({ kind }) => kind)).toEqual([...Array(10).fill('import'), 'url', 'url'])
  })

  test.each([
    ['a line comment', "// import a from './a.ts'"],
    ['a block comment', "/*\nimport a from './a.ts'\n*/"],
    ['a string', `const a = "import('./a.ts')"`],
    ['a template', `const a = \`\nimport a from './a.ts'\n\${f({ b: \`\nimport './b.ts'\n\` })}\nimport './c.ts'\``],
    ['a regular expression', "const a = /[/'\"`]import\\('.\\/a.ts'\\)/"],
    ['another URL', "const a = new URL('./a.ts', 'file:///')"],
    ['words', 'const important = { from: "./a.ts" }\nexport const a = { from: "./a.ts" }'],
  ])('finds nothing in %s', (_, source) => {
    expect(specifiers(source)).toEqual([])
    expect(specifiers(`${source}\nimport './after.ts'`)).toEqual(['./after.ts'])
  })

  test.each([
    ['const quote = /[\'"`]/'],
    ['const ratio = a / b / c'],
    ["const glob = '**/*.ts'"],
    [`const escaped = 'it\\'s' + \`\\\`\${'}'}\``],
    ['if (/`/.test(x)) return /`/'],
    ['const x = (a) / 2 // `'],
    ['const y = [1][0] / 2; const z = "`"'],
  ])('is not led astray by %s', source => {
    expect(specifiers(`${source}\nimport './after.ts'\n${source}`)).toEqual(['./after.ts'])
  })
})
