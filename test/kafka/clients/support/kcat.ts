/** kcat, which is librdkafka: installed where that is possible. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'

/** Why there is no kcat; undefined when there is one, which may have been installed for it. */
export function whyNoKcat(): string | undefined {
  const isThere = (): boolean => spawnSync('kcat', ['-V']).error === undefined
  if (isThere()) return undefined
  if (process.getuid?.() !== 0) return 'kcat is not installed'
  spawnSync('apt-get', ['install', '-y', '-q', 'kcat'], { stdio: 'ignore', timeout: 120_000 })
  return isThere() ? undefined : 'kcat is not installed, and apt-get does not get it'
}

/** A kcat that runs. */
export class Kcat {
  readonly process: ChildProcessWithoutNullStreams
  /** What it printed, once it has ended well. */
  readonly done: Promise<string>

  constructor(bootstrap: string, args: readonly string[], timeoutMs: number) {
    const child = spawn('kcat', ['-b', bootstrap, ...args], { timeout: timeoutMs })
    this.process = child
    let [out, errors] = ['', '']
    child.stdout.on('data', data => (out += data))
    child.stderr.on('data', data => (errors += data))
    child.stdin.on('error', () => undefined) // it has ended: `done` says why
    this.done = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', code => {
        if (code === 0) resolve(out)
        else reject(new Error(`kcat ended with ${code}: ${errors}`))
      })
    })
    this.done.catch(() => undefined)
  }
}

/** Runs kcat with an input, and gives what it printed. */
export function kcat(bootstrap: string, args: readonly string[], input = '', timeoutMs = 30_000): Promise<string> {
  const run = new Kcat(bootstrap, args, timeoutMs)
  run.process.stdin.end(input)
  return run.done
}
