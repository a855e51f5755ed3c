/** `millrace serve`: the directory as a Kafka broker, for as long as it is not interrupted or a command runs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KafkaServer, ListenerOptions } from '../../engine/kafka/server/server.ts'
import type { Millrace } from '../millrace.ts'
import { givenEnvironment } from './compile-cache.ts'
import type { Context } from './context.ts'
import { CommandError, UsageError } from './failure.ts'
import { owning } from './session.ts'

export interface Address {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

export interface ServeOptions {
  readonly listen: readonly Address[]
  readonly advertise: readonly Address[]
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsClientCa?: string
  readonly nodeId: number
  readonly cluster?: string
  readonly id?: number
  readonly lease: number
  readonly replicaLag: number
  readonly defaultPartitions: number
  readonly autoCreate: boolean
  readonly maxConnections: number
  readonly idle: number
  readonly writers?: number
  readonly verbose?: boolean
  readonly json?: boolean
}

const DEFAULT_ADDRESS: Address = { host: '127.0.0.1', port: 9092, tls: false }
/** From asking a command to end to ending it. */
const COMMAND_GRACE_MS = 10_000
const SIGNALLED = 128

export async function serve(context: Context, words: readonly string[], options: ServeOptions): Promise<void> {
  const listeners = listenersOf(options)
  context.isFollowing = words.length === 0 // then the interruption is its end
  if (!existsSync(join(context.directory, 'store'))) context.note(`${context.directory} is new`)
  const { cluster: store, lease: leaseMs, replicaLag: lagMaxMs, id, nodeId = 1 } = options
  const threads = options.writers === undefined ? {} : { writers: options.writers }
  const report = (error: Error): void => context.note(`cluster: ${error.message}`)
  const cluster = store === undefined ? {} : { cluster: { store, leaseMs, lagMaxMs, report } }
  await owning(
    context,
    true,
    async engine => {
      const server = await engine.listen({
        listeners,
        nodeId: id ?? nodeId,
        ...cluster,
        defaultPartitions: options.defaultPartitions,
        autoCreateTopics: options.autoCreate,
        connectionsMax: options.maxConnections,
        connectionIdleMs: options.idle * 1_000,
      })
      if (options.verbose === true)
        server.on('connectionEnded', (reason, address) => context.note(`${address}: ${reason.message}`))
      await announce(context, engine, server, listeners, { ...options, nodeId: id ?? nodeId })
      if (words.length > 0) context.exitCode = await runCommand(context, words, bootstrapOf(server))
      else await interruption(context.signal)
    },
    { ...threads, replicas: store !== undefined },
  )
}

async function announce(
  context: Context,
  engine: Millrace,
  server: KafkaServer,
  listeners: readonly ListenerOptions[],
  { nodeId, json }: ServeOptions,
): Promise<void> {
  const described = server.addresses.map(({ host, port }, index) => {
    return { host, port, tls: listeners[index]?.tls !== undefined }
  })
  const shown = described.map(({ host, port, tls }) => `${tls ? 'tls://' : ''}${hostAndPort(host, port)}`)
  context.note(`node ${nodeId} serves ${engine.directory} to Kafka clients on ${shown.join(', ')}`)
  if (json !== true) return
  context.out.json({ nodeId, clusterId: server.clusterId, listeners: described })
  await context.out.flush()
}

/** @throws UsageError, CommandError when a file cannot be read */
function listenersOf(options: ServeOptions): ListenerOptions[] {
  const addresses = options.listen.length === 0 ? [DEFAULT_ADDRESS] : options.listen
  if (options.advertise.length > addresses.length) {
    throw new UsageError('there are more --advertise than --listen', 'Give one for each --listen, in the same order.')
  }
  const tls = addresses.some(address => address.tls) ? tlsOf(options) : undefined
  if (tls === undefined && (options.tlsCert ?? options.tlsKey ?? options.tlsClientCa) !== undefined) {
    throw new UsageError('no address uses TLS', 'Give one as --listen tls://HOST:PORT.')
  }
  return addresses.map(({ host, port, tls: isTls }, index) => {
    const advertised = options.advertise[index]
    return {
      host,
      port,
      ...(isTls && tls !== undefined ? { tls } : {}),
      ...(advertised === undefined ? {} : { advertisedHost: advertised.host, advertisedPort: advertised.port }),
    }
  })
}

function tlsOf({ tlsCert, tlsKey, tlsClientCa }: ServeOptions): NonNullable<ListenerOptions['tls']> {
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError('a tls:// address needs a certificate', 'Give --tls-cert FILE and --tls-key FILE.')
  }
  const clients = tlsClientCa === undefined ? {} : { ca: readPem(tlsClientCa), requestCert: true }
  return { cert: readPem(tlsCert), key: readPem(tlsKey), ...clients }
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new CommandError(`${path} cannot be read`, (error as Error).message, error)
  }
}

/** What a client on this machine connects to. */
function bootstrapOf(server: KafkaServer): string {
  const [first] = server.addresses
  const host = first === undefined || first.host === '0.0.0.0' ? '127.0.0.1' : first.host === '::' ? '::1' : first.host
  return hostAndPort(host, server.port)
}

const hostAndPort = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

function interruption(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    // A signal handler alone does not keep a process alive; the listening sockets do.
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Runs a command until it has ended; the interruption is passed on to it. @returns its exit code */
async function runCommand(
  context: Context,
  [file = '', ...args]: readonly string[],
  bootstrap: string,
): Promise<number> {
  const child = spawn(file, args, {
    stdio: context.childStreams,
    env: { ...givenEnvironment(), MILLRACE_BOOTSTRAP: bootstrap },
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', error => reject(new CommandError(`${file} cannot be run`, error.message, error)))
    child.once('close', (code, signal) => resolve(code ?? SIGNALLED + (signal === 'SIGINT' ? 2 : 15)))
  })
  child.stdout?.on('data', (chunk: Uint8Array) => context.out.write(chunk))
  child.stderr?.on('data', (chunk: Uint8Array) => context.note(chunk.toString().replace(/\n$/, '')))
  const stop = endOnAbort(context.signal, child)
  try {
    return await ended
  } finally {
    stop()
  }
}

/** @returns what to call once the command has ended */
function endOnAbort(signal: AbortSignal, child: ChildProcess): () => void {
  let timer: NodeJS.Timeout | undefined
  const abort = (): void => {
    child.kill('SIGTERM')
    timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_GRACE_MS)
  }
  signal.addEventListener('abort', abort, { once: true })
  return () => {
    signal.removeEventListener('abort', abort)
    clearTimeout(timer)
  }
}
