/**
 * An etcd of the test's own: one member on free loopback ports with its data in a directory that is given, started and stopped by process
 * id. The binary is the one that is installed, else that of Debian's package `etcd-server`, unpacked into the cache of the
 * checkout; where neither can be had the suites that need it say so and skip.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../../bench/cluster/broker-processes.ts'

const CACHE = join(import.meta.dirname, '../../../node_modules/.cache')
const START_MS = 20_000

/** Path of the binary; undefined, and a line that says so, where there is none. */
export const etcdBinary = findEtcd()

function findEtcd(): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    if (existsSync(join(folder, 'etcd'))) return join(folder, 'etcd')
  }
  const kept = join(CACHE, 'etcd-server')
  const binary = join(kept, 'usr/bin/etcd')
  if (existsSync(binary)) return binary
  try {
    mkdirSync(CACHE, { recursive: true })
    const folder = mkdtempSync(join(CACHE, 'etcd-'))
    execFileSync('apt-get', ['download', 'etcd-server'], { cwd: folder, stdio: 'ignore', timeout: 120_000 })
    const [name] = readdirSync(folder)
    execFileSync('dpkg', ['-x', join(folder, name as string), join(folder, 'unpacked')], { timeout: 60_000 })
    if (!existsSync(kept)) renameSync(join(folder, 'unpacked'), kept)
    rmSync(folder, { recursive: true, force: true })
    return binary
  } catch {
    console.log('skipped: etcd is not installed, and could not be fetched as the package etcd-server')
    return undefined
  }
}

/** Where it listens for clients, and what stands in front of its command. */
export interface EtcdPlace {
  readonly address: string
  readonly prefix: readonly string[]
}

const HERE: EtcdPlace = { address: '127.0.0.1', prefix: [] }

export class Etcd {
  readonly #directory: string
  readonly #clientPort: number
  readonly #peerPort: number
  readonly #address: string
  readonly #prefix: readonly string[]
  #process: ChildProcess | undefined

  private constructor(directory: string, clientPort: number, peerPort: number, { address, prefix }: EtcdPlace) {
    this.#directory = directory
    this.#address = address
    this.#prefix = prefix
    this.#clientPort = clientPort
    this.#peerPort = peerPort
  }

  static async start(directory: string, place: EtcdPlace = HERE): Promise<Etcd> {
    const etcd = new Etcd(directory, await freePort(), await freePort(), place)
    await etcd.start()
    return etcd
  }

  get host(): string {
    return `${this.#address}:${this.#clientPort}`
  }

  /** Starts it with the data that it has; resolves when it answers. */
  async start(): Promise<void> {
    const client = `http://${this.host}`
    const peer = `http://127.0.0.1:${this.#peerPort}`
    const options = {
      name: 'one',
      'data-dir': this.#directory,
      'listen-client-urls': client,
      'advertise-client-urls': client,
    }
    const peers = { 'listen-peer-urls': peer, 'initial-advertise-peer-urls': peer, 'initial-cluster': `one=${peer}` }
    const args = Object.entries({ ...options, ...peers }).flatMap(([name, value]) => [`--${name}`, value])
    const [file, ...words] = [...this.#prefix, etcdBinary as string, ...args] as [string, ...string[]]
    this.#process = spawn(file, words, { stdio: 'ignore' })
    const deadline = Date.now() + START_MS
    while (!(await isHealthy(client))) {
      if (Date.now() > deadline) throw new Error('etcd does not answer')
      await sleep(50)
    }
  }

  /** Ends it at once; what it acknowledged is on disk. */
  async stop(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }
}

async function isHealthy(client: string): Promise<boolean> {
  try {
    const answer = await fetch(`${client}/health`, { signal: AbortSignal.timeout(1000) })
    return answer.ok && ((await answer.json()) as { health: string }).health === 'true'
  } catch {
    return false
  }
}
