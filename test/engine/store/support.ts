/** What the store's tests share: directories and stores that are gone after the test, and direct looks at the file. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, open } from 'lmdb'
import { afterEach } from 'vitest'
import type { ErrorCode, ErrorDetails } from '../../../engine/base/errors.ts'
import { MillraceError } from '../../../engine/base/errors.ts'
import { Store, type StoreOptions } from '../../../engine/store/store.ts'

const directories: string[] = []
const stores: Store[] = []

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close()
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-store-'))
  directories.push(directory)
  return directory
}

export function openStore(directory: string, options: StoreOptions = {}): Store {
  const store = Store.open(directory, options)
  stores.push(store)
  return store
}

/** Puts raw text into a database of a closed store, past all checks. */
export async function putRaw(directory: string, name: string, key: Buffer, text: string): Promise<void> {
  const root = open<string, Buffer>({ path: join(directory, 'store'), overlappingSync: false })
  const database: Database<string, Buffer> = root.openDB({ name, encoding: 'string', keyEncoding: 'binary' })
  database.transactionSync(() => database.putSync(key, text))
  await root.close()
}

/** The error of a call, which must be a MillraceError. */
export async function errorOf(call: () => unknown): Promise<MillraceError> {
  try {
    await call()
  } catch (error) {
    if (error instanceof MillraceError) return error
    throw error
  }
  throw new Error('the call did not fail')
}

export async function codeAndDetails(call: () => unknown): Promise<{ code: ErrorCode; details: ErrorDetails }> {
  const { code, details } = await errorOf(call)
  return { code, details }
}

/** Runs TypeScript source in a child process with the store imported; returns how it ended and what it printed. */
export function runChild(
  source: string,
  env: Record<string, string> = {},
): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, childArguments(source), {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 55_000,
  })
  return { status, signal, stdout, stderr }
}

/** Arguments for Node to run a source text that uses `Store`. */
export function childArguments(source: string): string[] {
  const storeModule = new URL('../../../engine/store/store.ts', import.meta.url).href
  return ['--input-type=module', '--eval', `import { Store } from ${JSON.stringify(storeModule)}\n${source}`]
}
