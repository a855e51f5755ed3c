/**
 * The shape of the source tree as rules over a map from path to text, so that a test can hold a tree in its hand:
 * which folder may import which, no cycles, file length, opening comments, top-level folders.
 */
import { posix } from 'node:path'
import { type Reference, references } from './scan.ts'

export const LINES_MAX = 500
export const LINES_ADVISED = 400

export const TOP_LEVEL = ['bench', 'client', 'docs', 'engine', 'test', 'workers'] as const

/** What each layer may import beside itself. Those in braces of the design (memory and store; group, schema, cluster; kafka and http) do not import each other. */
const LAYERS: Readonly<Record<string, readonly string[]>> = layers([
  ['engine/base'],
  ['engine/format'],
  ['engine/memory', 'engine/store'],
  ['engine/log'],
  ['engine/broker'],
  ['engine/group', 'engine/schema', 'engine/cluster'],
  ['engine/kafka', 'engine/http'],
])

/** Layers whose files start a worker thread by its address. */
const STARTS_WORKERS = ['engine/broker', 'bench', 'test']

/** Packages and modules of Node that only some layers may use, with the reason. */
const RESERVED: Readonly<Record<string, { layers: readonly string[]; reason: string }>> = {
  koffi: { layers: ['engine/memory'], reason: 'only memory knows addresses' },
  lmdb: { layers: ['engine/store'], reason: 'only the store knows LMDB' },
  ...Object.fromEntries(
    ['net', 'tls', 'dgram', 'http', 'https', 'http2'].map(name => [
      `node:${name}`,
      { layers: ['engine/cluster', 'engine/kafka', 'engine/http'], reason: 'embedded users load no sockets' },
    ]),
  ),
}

export type Rule = 'top-level' | 'layer' | 'import' | 'cycle' | 'length' | 'comment' | 'reserved'

export interface Violation {
  readonly rule: Rule
  /** A path, from the root of the project, with a line where there is one. */
  readonly where: string
  readonly what: string
}

export interface Tree {
  /** Names of the top-level folders; those with a dot, node_modules and dist do not count. */
  readonly folders: readonly string[]
  /** Text of each source file by its path from the root, with forward slashes. */
  readonly files: ReadonlyMap<string, string>
}

export interface Findings {
  readonly violations: readonly Violation[]
  /** Files that are longer than is good. */
  readonly advice: readonly string[]
}

interface Import extends Reference {
  readonly from: string
  /** The file that is imported; undefined for a package. */
  readonly to: string | undefined
}

export function checkTree(tree: Tree): Findings {
  const violations = [...topLevel(tree.folders)]
  const advice: string[] = []
  const imports: Import[] = []
  for (const [path, text] of tree.files) {
    violations.push(...opening(path, text), ...length(path, text, advice))
    if (layerOf(path) === undefined) {
      violations.push({ rule: 'layer', where: path, what: 'belongs to no layer of the table' })
      continue
    }
    for (const reference of references(text)) imports.push({ ...reference, from: path, to: target(path, reference) })
  }
  for (const one of imports) violations.push(...judge(one, tree.files))
  violations.push(...cycles(tree.files, imports))
  return { violations, advice }
}

function layers(ranks: readonly (readonly string[])[]): Record<string, readonly string[]> {
  const table: Record<string, readonly string[]> = {}
  let left: string[] = []
  for (const rank of ranks) {
    for (const layer of rank) table[layer] = left
    left = [...left, ...rank]
  }
  const toBroker = left.slice(0, left.indexOf('engine/broker') + 1)
  return {
    ...table,
    workers: toBroker,
    client: left,
    bench: [...left, 'client', 'workers'],
    test: [...left, 'client', 'workers', 'bench'],
  }
}

/** The layer that a path belongs to; undefined for what is in none. */
function layerOf(path: string): string | undefined {
  const [top, second] = path.split('/') as [string, string | undefined]
  const layer = top === 'engine' ? `engine/${second}` : top
  return Object.hasOwn(LAYERS, layer) ? layer : undefined
}

function* topLevel(folders: readonly string[]): Generator<Violation> {
  const counted = folders.filter(name => !name.startsWith('.') && name !== 'node_modules' && name !== 'dist')
  for (const name of counted) {
    if (!(TOP_LEVEL as readonly string[]).includes(name)) {
      yield { rule: 'top-level', where: `${name}/`, what: `is not one of ${TOP_LEVEL.join(', ')}` }
    }
  }
  for (const name of TOP_LEVEL) {
    if (!counted.includes(name)) yield { rule: 'top-level', where: `${name}/`, what: 'is missing' }
  }
}

/** A test says what it tests by its names; every other source begins with its job. */
function* opening(path: string, text: string): Generator<Violation> {
  if (path.startsWith('test/')) return
  const source = text.startsWith('#!') ? text.slice(text.indexOf('\n') + 1) : text
  if (!source.startsWith('/**')) yield { rule: 'comment', where: path, what: 'does not begin with a /** comment */' }
}

function* length(path: string, text: string, advice: string[]): Generator<Violation> {
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  if (lines > LINES_MAX) yield { rule: 'length', where: path, what: `has ${lines} lines, ${LINES_MAX} are the limit` }
  else if (lines > LINES_ADVISED)
    advice.push(`${path} has ${lines} lines; look for the second noun above ${LINES_ADVISED}`)
}

function target(path: string, { specifier }: Reference): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : undefined
}

function* judge(one: Import, files: ReadonlyMap<string, string>): Generator<Violation> {
  const where = `${one.from}:${one.line}`
  const layer = layerOf(one.from) as string
  if (one.to === undefined) {
    yield* judgePackage(one, layer, where)
    return
  }
  // A URL may name what is no source: a data file, or a folder in front of a substitution.
  const isSource = /\.[cm]?[jt]sx?$/.test(one.to)
  if (isSource && !files.has(one.to)) yield { rule: 'import', where, what: `${one.specifier} is not there` }
  if (one.kind === 'import' && !isSource) yield { rule: 'import', where, what: `${one.specifier} names no source file` }
  const toLayer = layerOf(one.to.endsWith('/') ? `${one.to}*` : one.to)
  if (toLayer === undefined || toLayer === layer) return
  if (one.kind === 'url' && toLayer === 'workers' && STARTS_WORKERS.includes(layer)) return
  if (LAYERS[layer]?.includes(toLayer)) return
  yield { rule: 'layer', where, what: `${layer} may not import ${toLayer} (${one.specifier})` }
}

function* judgePackage(one: Import, layer: string, where: string): Generator<Violation> {
  const name = one.specifier.startsWith('@') ? one.specifier : (one.specifier.split('/')[0] as string)
  const reserved = RESERVED[name]
  const bound = layer.startsWith('engine/') || layer === 'workers'
  if (reserved === undefined || !bound || reserved.layers.includes(layer)) return
  yield { rule: 'reserved', where, what: `${layer} may not import ${name}: ${reserved.reason}` }
}

/** Each group of files that import one another, once, as the shortest way around. */
function* cycles(files: ReadonlyMap<string, string>, imports: readonly Import[]): Generator<Violation> {
  const next = new Map<string, string[]>([...files.keys()].map(path => [path, []]))
  for (const { kind, from, to } of imports) if (kind === 'import' && to !== undefined) next.get(from)?.push(to)
  const reported = new Set<string>()
  for (const path of files.keys()) {
    if (reported.has(path)) continue
    const way = wayBack(path, next)
    if (way === undefined) continue
    for (const member of way) reported.add(member)
    yield { rule: 'cycle', where: path, what: `is in a cycle of imports: ${[...way, path].join(' -> ')}` }
  }
}

/** The shortest way from a file over its imports back to itself, by breadth-first search. */
function wayBack(start: string, next: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const cameFrom = new Map<string, string>()
  let frontier = [start]
  while (frontier.length > 0) {
    const reached: string[] = []
    for (const path of frontier) {
      for (const to of next.get(path) ?? []) {
        if (to === start) return trace(path, start, cameFrom)
        if (cameFrom.has(to)) continue
        cameFrom.set(to, path)
        reached.push(to)
      }
    }
    frontier = reached
  }
  return undefined
}

function trace(end: string, start: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const way = [end]
  while (way[0] !== start) way.unshift(cameFrom.get(way[0] as string) as string)
  return way
}
