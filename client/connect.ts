/**
 * One client API, two transports: the engine in this process, or a Kafka cluster, which may be Millrace's. Nothing of the second is
 * loaded before it is asked for.
 */
import { fileURLToPath } from 'node:url'
import { MillraceError } from '../engine/base/errors.ts'
import type { Connection } from './connection-types.ts'
import { Millrace, type MillraceOptions } from './millrace.ts'
import type { KafkaOptions } from './remote/options.ts'

export interface ConnectOptions {
  /** Of an engine in this process. */
  readonly engine?: MillraceOptions
  /** Of a connection to a cluster. */
  readonly kafka?: KafkaOptions
}

const KAFKA = 'kafka://'
const DEFAULT_PORT = 9092

/**
 * Opens what an address stands for: `kafka://host:port[,host:port…]` a Kafka cluster, `file:///path` or a path the data directory of an
 * engine in this process. Code that uses only what a `Connection` has moves from one to the other by its address.
 * @throws INVALID_ARGUMENT, CONNECTION_FAILED when no broker answers, and as `Millrace.open`
 */
export async function connect(address: string, options: ConnectOptions = {}): Promise<Connection> {
  if (address.startsWith(KAFKA)) {
    const { RemoteConnection } = await import('./remote/connection.ts')
    return RemoteConnection.open(brokersOf(address), options.kafka ?? {})
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(address) && !address.startsWith('file://')) {
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'address',
      value: address,
      accepted: 'kafka://, file://, a path',
    })
  }
  return Millrace.open(address.startsWith('file://') ? fileURLToPath(address) : address, options.engine)
}

function brokersOf(address: string): string[] {
  const brokers = address.slice(KAFKA.length).replace(/\/$/, '').split(',')
  return brokers.map(broker => {
    const [, host, digits] = /^(\[[^\]]+\]|[^:[\]/]+)(?::(\d{1,5}))?$/.exec(broker) ?? []
    const port = digits === undefined ? DEFAULT_PORT : Number(digits)
    if (host === undefined || port < 1 || port > 65_535) {
      throw new MillraceError('INVALID_ARGUMENT', {
        argument: 'address',
        value: address,
        accepted: 'kafka://host:port[,…]',
      })
    }
    return `${host}:${port}`
  })
}
