/**
 * Starts an engine once before all suites, in a process of its own, so that Node's compile cache has the sources of its threads
 * without their types. A thread that has to strip types runs a WebAssembly module for it, and Node 24 now and then ends the whole
 * process when many threads with one come and go ("Check failed: jit_page.has_value()", nodejs/node#64500).
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export default function warmUp(): void {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-warm-up-'))
  const client = new URL('../client/index.ts', import.meta.url).href
  const program = `
    const { Millrace } = await import(${JSON.stringify(client)})
    const engine = await Millrace.open(${JSON.stringify(directory)}, { writers: 1, jobThreads: 1 })
    await engine.admin.createTopic({ topic: 'warm', config: { 'segment.bytes': 16384 } })
    await engine.close()
  `
  // It is a preparation only: what is wrong with the engine is for the suites to say.
  spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 60_000, stdio: 'ignore' })
  rmSync(directory, { recursive: true, force: true })
}
