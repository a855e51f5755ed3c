/**
 * A reporter that ends a run of the suites that does not end by itself: it says which tests were under way, and kills the processes that the
 * run started. A thread that waits in the kernel, or on another thread, stops the timers of its process, and with them the time limits of its
 * tests; this one looks from outside.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

const LIMIT_MINUTES = Number(process.env['MILLRACE_TEST_MINUTES'] ?? 30)

export default class Overdue implements Reporter {
  readonly #running = new Map<string, { readonly name: string; readonly sinceMs: number }>()
  #timer: NodeJS.Timeout | undefined

  onTestRunStart(): void {
    this.#timer ??= setTimeout(() => this.#end(), LIMIT_MINUTES * 60_000).unref()
  }

  onTestRunEnd(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  onTestModuleQueued(module: TestModule): void {
    this.#begun(module.id, module.relativeModuleId)
  }

  onTestModuleEnd(module: TestModule): void {
    this.#running.delete(module.id)
  }

  onTestCaseReady(test: TestCase): void {
    this.#begun(test.id, `${test.module.relativeModuleId} > ${test.fullName}`)
  }

  onTestCaseResult(test: TestCase): void {
    this.#running.delete(test.id)
  }

  #begun(id: string, name: string): void {
    this.#running.set(id, { name, sinceMs: performance.now() })
  }

  #end(): void {
    const lines = [...this.#running.values()].map(
      ({ name, sinceMs }) => `  ${((performance.now() - sinceMs) / 1000).toFixed(0)} s  ${name}`,
    )
    process.stderr.write(`the suites have not ended after ${LIMIT_MINUTES} minutes; under way:\n${lines.join('\n')}\n`)
    for (const pid of descendantsOf(process.pid)) kill(pid)
    process.exit(1)
  }
}

/** Processes that a process has started, and those have, the youngest first. None where there is no /proc. */
function descendantsOf(ancestor: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readNames('/proc')) {
    const pid = Number(name)
    const parent = Number.isInteger(pid) ? parentOf(pid) : undefined
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const below = (pid: number): number[] => (children.get(pid) ?? []).flatMap(child => [...below(child), child])
  return below(ancestor)
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** The fourth field of its status; the second, its name in brackets, may hold anything. */
function parentOf(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // it has ended meanwhile
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended meanwhile
  }
}
