/**
 * Finds what a TypeScript source refers to: imports of every kind and `new URL('…', import.meta.url)`. The source is
 * first split into code and literals, so that nothing inside a comment, a string, a template or a regular expression is
 * taken for an import. Not a parser: it relies on the formatter for one statement to begin on one line.
 */

export type ReferenceKind = 'import' | 'url'

export interface Reference {
  readonly kind: ReferenceKind
  /** As written; of a template with substitutions, the text in front of the first one. */
  readonly specifier: string
  /** From 1. */
  readonly line: number
}

interface Split {
  /** The source with comments blanked and each literal replaced by `"n"`; line breaks are kept. */
  readonly code: string
  readonly literals: readonly string[]
}

// `import x from "0"`, `export * from "0"`, `import type { a } from "0"`; braces may span lines.
const STATIC = /^[ \t]*(?:import|export)\b[^"'`;()]*?\bfrom\s*"(\d+)"/gm
const SIDE_EFFECT = /^[ \t]*import\s*"(\d+)"/gm
const DYNAMIC = /\bimport\s*\(\s*"(\d+)"/g
const URL_OF_MODULE = /\bnew\s+URL\s*\(\s*"(\d+)"\s*,\s*import\.meta\.url/g

/** After one of these a slash begins a regular expression. */
const BEFORE_REGEX = '(,=:[!&|?{};+-*%<>~^\n'

export function references(source: string): Reference[] {
  const { code, literals } = split(source)
  const found: Reference[] = []
  const collect = (pattern: RegExp, kind: ReferenceKind): void => {
    for (const match of code.matchAll(pattern)) {
      const end = match.index + match[0].length
      const line = code.slice(0, end).split('\n').length
      found.push({ kind, specifier: literals[Number(match[1])] as string, line })
    }
  }
  collect(STATIC, 'import')
  collect(SIDE_EFFECT, 'import')
  collect(DYNAMIC, 'import')
  collect(URL_OF_MODULE, 'url')
  return found.sort((a, b) => a.line - b.line)
}

function split(source: string): Split {
  const literals: string[] = []
  let code = ''
  let at = 0
  while (at < source.length) {
    const two = source.slice(at, at + 2)
    const one = source[at] as string
    if (two === '//') at = lineEnd(source, at)
    else if (two === '/*') {
      const end = source.indexOf('*/', at + 2)
      const next = end < 0 ? source.length : end + 2
      code += ` ${lineBreaks(source.slice(at, next))}`
      at = next
    } else if (one === '"' || one === "'" || one === '`') {
      const next = literalEnd(source, at, one)
      const text = source.slice(at + 1, next - 1)
      code += `"${literals.length}"${lineBreaks(text)}`
      literals.push(one === '`' ? (text.split('${')[0] as string) : text)
      at = next
    } else if (one === '/' && beginsRegex(code)) {
      code += '0'
      at = regexEnd(source, at)
    } else {
      code += one
      at++
    }
  }
  return { code, literals }
}

function lineBreaks(text: string): string {
  return '\n'.repeat(text.split('\n').length - 1)
}

function lineEnd(source: string, at: number): number {
  const end = source.indexOf('\n', at)
  return end < 0 ? source.length : end
}

/** Position behind a string or template; a string ends at the line's end at the latest, a template skips `${…}`. */
function literalEnd(source: string, start: number, quote: string): number {
  let at = start + 1
  while (at < source.length) {
    const one = source[at] as string
    if (one === '\\') at += 2
    else if (one === quote) return at + 1
    else if (one === '\n' && quote !== '`') return at + 1
    else if (quote === '`' && source.startsWith('${', at)) at = substitutionEnd(source, at + 2)
    else at++
  }
  return source.length + 1
}

function substitutionEnd(source: string, start: number): number {
  let depth = 1
  let at = start
  while (at < source.length && depth > 0) {
    const one = source[at] as string
    if (one === '"' || one === "'" || one === '`') {
      at = literalEnd(source, at, one)
      continue
    }
    if (one === '{') depth++
    else if (one === '}') depth--
    at++
  }
  return at
}

function beginsRegex(code: string): boolean {
  const before = code.trimEnd()
  if (before === '' || /\n[ \t]*$/.test(code)) return true
  return BEFORE_REGEX.includes(before.at(-1) as string) || /\b(?:return|typeof|case|in|of)$/.test(before)
}

function regexEnd(source: string, start: number): number {
  let inClass = false
  for (let at = start + 1; at < source.length; at++) {
    const one = source[at] as string
    if (one === '\n') return at
    if (one === '\\') at++
    else if (one === '[') inClass = true
    else if (one === ']') inClass = false
    else if (one === '/' && !inClass) return at + 1
  }
  return source.length
}
