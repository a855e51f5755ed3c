/** Runs the command line in this process, on streams that a test holds, or as a process of its own where only that shows it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'
import { runCommandLine } from '../../../../client/cli/run.ts'

/** How long anything may take on a busy machine. */
export const WAIT_MS = 120_000

export const MAIN = fileURLToPath(new URL('../../../../client/cli/main.ts', import.meta.url))

/** A folder that is gone after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  readonly bytes: Buffer
}

class Sink extends Writable {
  readonly chunks: Buffer[] = []
  readonly isTTY: boolean

  constructor(isTTY = false) {
    super()
    this.isTTY = isTTY
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(Buffer.from(chunk))
    done()
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

class Input extends EventEmitter {
  readonly #chunks: readonly (string | Uint8Array)[]

  constructor(chunks: readonly (string | Uint8Array)[]) {
    super()
    this.#chunks = chunks
  }

  destroy(): void {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined> {
    for (const chunk of this.#chunks) yield Buffer.from(chunk)
    return undefined
  }
}

export interface RunOptions {
  /** What comes from stdin, in these pieces. */
  readonly input?: string | Uint8Array | readonly (string | Uint8Array)[]
  readonly isTerminal?: boolean
}

/** Commands of a directory. */
export class CommandLine {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** Runs a command in this process. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const { input = [], isTerminal = false } = options
    const [stdout, stderr] = [new Sink(), new Sink(isTerminal)]
    const chunks = typeof input === 'string' || input instanceof Uint8Array ? [input] : input
    const streams = { stdin: new Input(chunks), stdout, stderr }
    const exitCode = await runCommandLine(['--dir', this.directory, ...args], streams)
    return { exitCode, bytes: stdout.bytes, stdout: stdout.bytes.toString(), stderr: stderr.bytes.toString() }
  }

  /** What a command prints that must succeed. */
  async out(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(args, options)
    if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${stderr}`)
    return stdout
  }

  /** The one JSON text that it prints. */
  async json<T>(args: readonly string[], options: RunOptions = {}): Promise<T> {
    return JSON.parse(await this.out([...args, '--json'], options)) as T
  }

  /** One JSON text in each line. */
  async lines<T>(args: readonly string[]): Promise<T[]> {
    return jsonLines(await this.out(args))
  }
}

export function jsonLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as T)
}

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

/** The command as a process of its own. */
export class Child {
  readonly process: ChildProcess
  stdout = ''
  stderr = ''
  readonly ended: Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }>

  constructor(args: readonly string[], options: SpawnOptions = {}) {
    this.process = spawn(process.execPath, [MAIN, ...args], { stdio: 'pipe', timeout: WAIT_MS, ...options })
    children.add(this.process)
    this.process.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    this.process.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.ended = new Promise(resolve => {
      this.process.on('close', (exitCode, signal) => {
        children.delete(this.process)
        resolve({ exitCode, signal })
      })
    })
  }

  /** Ends the input and waits. */
  async finish(input: string | Uint8Array = ''): Promise<Outcome> {
    this.process.stdin?.on('error', () => undefined)
    this.process.stdin?.end(input)
    const { exitCode, signal } = await this.ended
    if (exitCode === null) throw new Error(`ended by ${signal}: ${this.stderr}`)
    return { exitCode, stdout: this.stdout, stderr: this.stderr, bytes: Buffer.from(this.stdout) }
  }

  /** Waits until it has printed something. */
  async until(text: string): Promise<void> {
    for (const end = Date.now() + WAIT_MS; !this.stdout.includes(text); ) {
      if (Date.now() > end || this.process.exitCode !== null)
        throw new Error(`no "${text}": ${this.stdout}${this.stderr}`)
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
}
