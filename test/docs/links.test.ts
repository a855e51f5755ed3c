import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, readDocument, withoutBlocks } from './support/markdown.ts'

const inFolder = (folder: string): string[] =>
  readdirSync(join(ROOT, folder)).flatMap(name => (name.endsWith('.md') ? [`${folder}/${name}`] : []))
const documents = ['README.md', 'CONTRIBUTING.md', ...inFolder('docs'), ...inFolder('docs/decisions')]

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(path: string): string[] {
  const headings = [...withoutBlocks(readDocument(path)).matchAll(/^#+ (.*)$/gm)].map(
    ([, heading]) => heading as string,
  )
  return headings.map(heading =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('links between the documents', () => {
  test.for(documents)('%s', document => {
    const links = [...withoutBlocks(readDocument(document)).matchAll(/\]\(([^)\s]+)\)/g)].map(
      ([, link]) => link as string,
    )
    const broken = links.filter(link => {
      if (/^https?:/.test(link)) return false
      const [path, anchor] = link.split('#') as [string, string?]
      const target = path === '' ? document : join(dirname(document), path)
      if (!existsSync(join(ROOT, target))) return true
      return anchor !== undefined && !anchorsOf(target).includes(anchor)
    })
    expect(broken).toEqual([])
  })
})
