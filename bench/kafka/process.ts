/** Processes of other programs, such as Kafka's: run to their end within a time, or kept running and ended by their id. */
import { type ChildProcess, spawn } from 'node:child_process'

export interface Finished {
  /** Exit code; null after a signal. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Both, for messages. */
  readonly output: string
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts a program, which is killed when this process ends. */
export function start(command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

/** Runs a program to its end. @throws when it cannot be started or takes longer than `timeoutMs` */
export function run(
  command: string,
  args: readonly string[],
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<Finished> {
  const child = start(command, args)
  const { promise, resolve, reject } = Promise.withResolvers<Finished>()
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', chunk => stdout.push(chunk))
  child.stderr?.on('data', chunk => stderr.push(chunk))
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    reject(new Error(`${command} took longer than ${timeoutMs} ms\n${Buffer.concat(stderr).toString().slice(-4_000)}`))
  }, timeoutMs)
  child.once('error', reject)
  child.once('close', code => {
    const [out, err] = [Buffer.concat(stdout).toString(), Buffer.concat(stderr).toString()]
    resolve({ code, stdout: out, stderr: err, output: `${out}${err}` })
  })
  return promise.finally(() => clearTimeout(timer))
}
