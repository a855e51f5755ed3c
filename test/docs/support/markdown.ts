import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** The text of a document, by its path from the root of the project. */
export function readDocument(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8')
}

export interface Block {
  /** What stands behind the opening fence. */
  readonly language: string
  readonly code: string
  /** Line of the first line of code, from 1. */
  readonly line: number
  /** The nearest heading above it. */
  readonly heading: string
}

/** The fenced blocks of a document. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  let heading = ''
  let open: { language: string; line: number; code: string[] } | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (open !== undefined && fence !== null) {
      blocks.push({ ...open, code: open.code.join('\n'), heading })
      open = undefined
    } else if (open !== undefined) open.code.push(line)
    else if (fence !== null) open = { language: (fence[1] as string).trim(), line: index + 2, code: [] }
    else heading = /^#+ (.*)$/.exec(line)?.[1] ?? heading
  }
  if (open !== undefined) throw new Error(`the block that begins at line ${open.line} has no end`)
  return blocks
}

/** The document without its fenced blocks. */
export function withoutBlocks(text: string): string {
  return text.replaceAll(/^```.*?^```/gms, '')
}

/** The block behind the comment `<!-- block: name -->`. */
export function namedBlock(text: string, name: string): string {
  const marker = `<!-- block: ${name} -->`
  const at = text.indexOf(marker)
  const block = at === -1 ? undefined : blocksOf(text.slice(at))[0]
  if (block === undefined) throw new Error(`no block is marked ${marker}`)
  return block.code
}

/** The rows of the table behind the comment `<!-- table: name -->`, without its head, backquotes taken off the cells. */
export function namedTable(text: string, name: string): string[][] {
  const marker = `<!-- table: ${name} -->`
  const at = text.indexOf(marker)
  if (at === -1) throw new Error(`no table is marked ${marker}`)
  const rows: string[][] = []
  for (const line of text.slice(at).split('\n').slice(1)) {
    if (line.startsWith('|')) rows.push(cellsOf(line))
    else if (rows.length > 0) break
  }
  if (rows.length < 3) throw new Error(`the table ${name} has no rows`)
  return rows.slice(2)
}

function cellsOf(line: string): string[] {
  const cells = line
    .trim()
    .slice(1, -1)
    .split(/(?<!\\)\|/)
  return cells.map(cell => cell.trim().replaceAll('`', '').replaceAll('\\|', '|'))
}
