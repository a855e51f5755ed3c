/**
 * Starts an engine once before all suites, in a process of its own, and loads what suites and their programs load, so that Node's
 * compile cache has all of it without its types. A process keeps what it compiled when it ends by itself, and many of the programs
 * are killed; without the cache the start of an engine takes three times the processor time. A thread that has to strip types runs
 * a WebAssembly module for it, and Node 24 now and then ends the whole process when many threads with one come and go ("Check
 * failed: jit_page.has_value()", nodejs/node#64500).
 */
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const LOADED = [
  'client/testing.ts',
  'client/cli/run.ts',
  'client/remote/connection.ts',
  'test/{client,faults}/programs/*.ts',
]

export default function warmUp(): void {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-warm-up-'))
  const program = `
    const { Millrace } = await import(${JSON.stringify(join(ROOT, 'client/index.ts'))})
    const engine = await Millrace.open(${JSON.stringify(directory)}, { writers: 1, jobThreads: 1 })
    await engine.admin.createTopic({ topic: 'warm', config: { 'segment.bytes': 16384 } })
    await engine.listen({ port: 0 })
    await engine.close()
    // Programs fail at once, for they have no plan.
    for (const path of ${JSON.stringify(globSync(LOADED, { cwd: ROOT }))}) {
      await import(${JSON.stringify(`${ROOT}/`)} + path).catch(() => undefined)
    }
    process.exit()
  `
  // It is a preparation only: what is wrong with the engine is for the suites to say.
  spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 60_000, stdio: 'ignore' })
  rmSync(directory, { recursive: true, force: true })
}
