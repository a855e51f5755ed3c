/** Folders of a test file, gone at its end; among them small file systems of their own where the user may mount one. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** Makes a folder. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Mounts a tmpfs of `bytes`, or says why not. Unmounted at the end of the test file. */
export function mountTmpfs(bytes: number): { folder: string } | { reason: string } {
  if (process.platform !== 'linux') return { reason: 'tmpfs is a file system of Linux' }
  if (process.getuid?.() !== 0) return { reason: 'mounting a file system takes root' }
  const folder = mkdtempSync(join(tmpdir(), 'millrace-tmpfs-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'millrace-test', folder], { stdio: 'pipe' })
  } catch (error) {
    rmSync(folder, { recursive: true })
    return { reason: `mount failed: ${String((error as { stderr?: unknown }).stderr ?? error).trim()}` }
  }
  afterAll(() => {
    execFileSync('umount', ['-l', folder]) // lazily: a mapping of a failed test may still be there
    rmSync(folder, { recursive: true, force: true })
  })
  return { folder }
}
