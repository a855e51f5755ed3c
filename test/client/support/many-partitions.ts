/** Runs the program of many partitions in a process of its own, and returns what it measured. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll } from 'vitest'

const root = mkdtempSync(join(tmpdir(), 'millrace-many-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const program = fileURLToPath(new URL('../programs/many-partitions.ts', import.meta.url))
// Without it each thread would keep what it took to strip the types.
const env = { ...process.env, NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(root, 'compiled') }

/** Runs one step of the program. */
export async function runMany(
  step: string,
  partitions: number,
  directory: string,
  limits = ':',
): Promise<Record<string, number>> {
  const args = ['-c', `${limits} && exec "$@"`, 'sh', process.execPath, program, step, String(partitions)]
  const { stdout } = await promisify(execFile)('/bin/sh', [...args, join(root, directory)], { env, timeout: 300_000 })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, number>
}
