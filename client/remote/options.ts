/** How a cluster is reached, and what that makes of the client underneath. */
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import type { BaseOptions, SASLOptions } from '@platformatic/kafka'

export interface KafkaOptions {
  /** Kafka's `client.id`. Default 'millrace'. */
  readonly clientId?: string
  /** What `node:tls` takes. Default: no TLS. */
  readonly tls?: TlsOptions
  readonly sasl?: SASLOptions
  /** Longest wait for an answer in milliseconds, default 30,000. */
  readonly requestTimeoutMs?: number
  /** How often what may pass is tried again, default 5, 200 ms apart. */
  readonly retries?: number
}

const RETRY_DELAY_MS = 200
/** A new partition or leader is known after this at the latest, or when a request meets the old one. */
const METADATA_MS_MAX = 5_000

/** @param brokers `host:port` */
export function clientOptions(brokers: readonly string[], options: KafkaOptions): BaseOptions {
  const { clientId = 'millrace', requestTimeoutMs = 30_000, retries = 5, tls, sasl } = options
  return {
    clientId,
    bootstrapBrokers: [...brokers],
    requestTimeout: requestTimeoutMs,
    connectTimeout: requestTimeoutMs,
    retries,
    retryDelay: RETRY_DELAY_MS,
    metadataMaxAge: METADATA_MS_MAX,
    autocreateTopics: false,
    ...(tls === undefined ? {} : { tls }),
    ...(sasl === undefined ? {} : { sasl }),
  }
}
