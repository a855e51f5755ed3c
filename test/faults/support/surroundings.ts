/**
 * What fault tests need of the machine, and what they leave behind on it: nothing. Directories and mounts are given back in the
 * reverse order after each test, also after a failure. A test that lacks root or a tool is skipped and says why.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, type TestContext } from 'vitest'
import { killAll } from './child.ts'

const cleanups: (() => void)[] = []

/** Runs after the test, before what was registered earlier. */
export function afterTest(cleanup: () => void): void {
  cleanups.push(cleanup)
}

afterEach(async () => {
  await killAll()
  const faults: unknown[] = []
  for (const cleanup of cleanups.splice(0).reverse()) {
    try {
      cleanup()
    } catch (error) {
      faults.push(error)
    }
  }
  if (faults.length > 0) throw faults[0]
})

// An interrupted run leaves no mounts either.
process.once('exit', () => {
  for (const cleanup of cleanups.splice(0).reverse()) {
    try {
      cleanup()
    } catch {
      // nothing more can be done
    }
  }
})

/** A new directory that is gone after the test; kept with the environment variable `MILLRACE_KEEP`. */
export function temporaryDirectory(prefix: string): string {
  const path = mkdtempSync(join(tmpdir(), `millrace-${prefix}-`))
  if (process.env['MILLRACE_KEEP'] === undefined) afterTest(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Skips the test, with a reason that is printed. */
export function skip(context: TestContext, reason: string): never {
  console.log(`skipped: ${context.task.name}: ${reason}`)
  return context.skip(reason)
}

export const isRoot = process.getuid?.() === 0 && process.platform === 'linux'

/** Runs a command; undefined when it succeeded, else what it said. */
export function run(command: string, ...args: string[]): string | undefined {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return undefined
  return `${command} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim()}`
}

function mustRun(command: string, ...args: string[]): void {
  const failed = run(command, ...args)
  if (failed !== undefined) throw new Error(failed)
}

/** Undefined when the tool is there or could be installed, else why not. */
export function needTool(tool: string, aptPackage: string): string | undefined {
  const there = (): boolean => run('sh', '-c', `command -v ${tool}`) === undefined
  if (there()) return undefined
  if (!isRoot) return `${tool} is not installed, and installing it needs root`
  const install = (): string | undefined =>
    run(
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      'install',
      '-y',
      '-q',
      '--no-install-recommends',
      aptPackage,
    )
  const failed = install() && (run('apt-get', 'update', '-q') ?? install())
  return there() ? undefined : `${tool} is not there and could not be installed (${failed?.slice(-200)})`
}

/** A mounted tmpfs, or why there is none. It is unmounted after the test. */
export function mountTmpfs(sizeBytes: number, filesMax = 100_000): { path: string } | string {
  if (!isRoot) return 'mounting a small file system needs root'
  const path = temporaryDirectory('tmpfs')
  const failed = run(
    'mount',
    '-t',
    'tmpfs',
    '-o',
    `size=${sizeBytes},nr_inodes=${filesMax},mode=700`,
    'millrace-test',
    path,
  )
  if (failed !== undefined) return failed
  afterTest(() => mustRun('umount', '-l', path))
  return { path }
}

/** A mounted file in a loop device. It is unmounted after the test, or by hand before. */
export interface LoopMount {
  readonly path: string
  unmount(): void
}

/** Mounts the file system in an image file, or says why not. */
export function mountImage(image: string, path: string, options = ''): LoopMount | string {
  mkdirSync(path, { recursive: true })
  const failed = run('mount', '-o', ['loop', options].filter(text => text !== '').join(','), image, path)
  if (failed !== undefined) return failed
  let mounted = true
  const unmount = (): void => {
    if (!mounted) return
    mounted = false
    // A process that was killed a moment ago may still hold it.
    for (let tries = 0; run('umount', path) !== undefined; tries++) {
      if (tries === 20) {
        mustRun('umount', '-l', path)
        break
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    }
  }
  afterTest(unmount)
  return { path, unmount }
}
