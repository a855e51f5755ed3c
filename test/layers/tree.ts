/** Reads the project's source tree from the disk for the rules. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TOP_LEVEL, type Tree } from './rules.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export function readTree(root = ROOT): Tree {
  const folders = readdirSync(root, { withFileTypes: true }).filter(entry => entry.isDirectory())
  const files = new Map<string, string>()
  for (const { name } of folders) {
    if (!(TOP_LEVEL as readonly string[]).includes(name)) continue
    for (const entry of readdirSync(join(root, name), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.[cm]?[jt]sx?$/.test(entry.name)) continue
      const path = join(entry.parentPath, entry.name)
      files.set(relative(root, path).replaceAll(sep, '/'), readFileSync(path, 'utf8'))
    }
  }
  return { folders: folders.map(({ name }) => name), files: new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))) }
}
