/**
 * Programs of the fault tests as processes of their own. What a child prints line by line can be waited for; how it ended is
 * always looked at, because a process that ended by a signal which the test did not send is a fault in itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** The test sent the signal. */
  readonly killed: boolean
}

export interface ChildOptions {
  /** As `MILLRACE_FAILPOINTS`. */
  readonly failpoints?: string
  /** A command that runs Node, such as `strace` with its options. */
  readonly wrapper?: readonly string[]
  readonly nodeArguments?: readonly string[]
}

const running = new Set<Child>()
process.once('exit', () => {
  for (const child of running) child.signal('SIGKILL')
})

export class Child {
  readonly lines: string[] = []
  readonly ended: Promise<Ended>
  readonly #process: ChildProcess
  readonly #waiting: { pattern: RegExp; resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  #stderr = ''
  #killed = false
  #hasEnded = false

  /** @param program file name in `test/faults/programs`; `argument` is handed over as JSON */
  constructor(program: string, argument: unknown, options: ChildOptions = {}) {
    const path = fileURLToPath(new URL(`../programs/${program}`, import.meta.url))
    const command = [...(options.wrapper ?? []), process.execPath, ...(options.nodeArguments ?? [])]
    const env: NodeJS.ProcessEnv = { ...process.env }
    delete env['NODE_OPTIONS']
    delete env['MILLRACE_FAILPOINTS']
    if (options.failpoints !== undefined) env['MILLRACE_FAILPOINTS'] = options.failpoints
    const [file = '', ...rest] = [...command, path, JSON.stringify(argument)]
    // A group of its own, so that a wrapper does not outlive or leave behind what it runs.
    this.#process = spawn(file, rest, { stdio: ['pipe', 'pipe', 'pipe'], env, detached: true })
    this.#process.stderr?.on('data', chunk => (this.#stderr += String(chunk)))
    this.#process.stdin?.on('error', () => undefined) // it may be dead already
    const lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream })
    lines.on('line', line => this.#line(line))
    running.add(this)
    this.ended = new Promise(resolve => {
      this.#process.once('close', (code, signal) => {
        running.delete(this)
        this.#hasEnded = true
        for (const { pattern, reject } of this.#waiting.splice(0)) {
          reject(new Error(`the child ended (${signal ?? code}) before ${pattern}\n${this.output}`))
        }
        resolve({ code, signal, killed: this.#killed })
      })
      this.#process.once('error', error => (this.#stderr += String(error)))
    })
  }

  get pid(): number {
    return this.#process.pid as number
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** All that it printed, for messages. */
  get output(): string {
    return [...this.lines, this.#stderr].join('\n').slice(-8_000)
  }

  get stderr(): string {
    return this.#stderr
  }

  #line(line: string): void {
    this.lines.push(line)
    for (const waiting of this.#waiting.filter(({ pattern }) => pattern.test(line))) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      waiting.resolve(line)
    }
  }

  /** The first line, from now on or before, that matches. Fails when the child ends or the time is over. */
  async line(pattern: RegExp, timeoutMs = 20_000): Promise<string> {
    const found = this.lines.find(line => pattern.test(line))
    if (found !== undefined) return found
    if (this.#hasEnded) throw new Error(`the child ended before ${pattern}\n${this.output}`)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const timer = setTimeout(() => reject(new Error(`no ${pattern} in ${timeoutMs} ms\n${this.output}`)), timeoutMs)
    this.#waiting.push({ pattern, resolve, reject })
    return promise.finally(() => clearTimeout(timer))
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.#process.stdin?.write(`${line}\n`)
  }

  /** Ends it with SIGKILL and waits until it is gone. */
  async kill(): Promise<Ended> {
    if (!this.#hasEnded) {
      this.#killed = true
      this.signal('SIGKILL')
    }
    return this.ended
  }

  signal(name: NodeJS.Signals): void {
    if (this.#process.pid === undefined) return
    try {
      process.kill(-this.#process.pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // it has just ended by itself
    }
  }

  /** Waits for it to end by itself; kills it and fails when it does not. */
  async exit(timeoutMs = 30_000): Promise<Ended> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>(resolve => {
      timer = setTimeout(() => resolve('late'), timeoutMs)
    })
    const first = await Promise.race([this.ended, late])
    clearTimeout(timer)
    if (first !== 'late') return first
    await this.kill()
    throw new Error(`the child did not end in ${timeoutMs} ms\n${this.output}`)
  }
}

/** Kills what a failed test left running. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map(child => child.kill()))
}
