/** Folders of a test file, gone at its end; among them small file systems of their own where the user may mount one. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** Makes a folder. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/**
 * Mounts a tmpfs of `bytes`. It is taken out of the file tree at once and reached through a descriptor, so that nothing is
 * left of it when this process ends, however it ends. The path holds in this process only.
 * @returns undefined where that cannot be done, after printing why: the tests that need it are skipped
 */
export function mountTmpfs(bytes: number): string | undefined {
  const skip = (reason: string): undefined =>
    console.log(`skipped: tests on a small file system: ${reason}`) as undefined
  if (process.platform !== 'linux') return skip('tmpfs is a file system of Linux')
  if (process.getuid?.() !== 0) return skip('mounting takes root')
  const point = mkdtempSync(join(tmpdir(), 'millrace-tmpfs-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'millrace-test', point], { stdio: 'pipe' })
  } catch (error) {
    rmSync(point, { recursive: true })
    return skip(`mount failed: ${String((error as { stderr?: unknown }).stderr ?? error).trim()}`)
  }
  const fd = openSync(point, 'r')
  execFileSync('umount', ['-l', point])
  rmSync(point, { recursive: true })
  afterAll(() => closeSync(fd))
  return `/proc/self/fd/${fd}`
}
