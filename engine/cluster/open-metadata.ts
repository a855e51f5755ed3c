/** The metadata store that an address names. What is not used is not loaded: etcd's client takes 160 ms and 40 MB. */
import { MillraceError } from '../base/errors.ts'
import type { MetadataStore } from './metadata-store.ts'

export interface OpenMetadataOptions {
  readonly address: string
  /** Identity of this boot of the machine, for LMDB. */
  readonly bootId: string
  /** Of each call, default CALL_TIMEOUT_MS. */
  readonly timeoutMs?: number
}

/**
 * @param address `lmdb:DIRECTORY`, or `etcd://host:port[,host:port…][/prefix]`
 * @throws INVALID_ARGUMENT; METADATA_STORE_UNAVAILABLE, CORRUPT_STORE, DISK_FULL, IO_ERROR for LMDB, which is opened at once
 */
export async function openMetadata({ address, bootId, timeoutMs }: OpenMetadataOptions): Promise<MetadataStore> {
  const wait = timeoutMs === undefined ? {} : { timeoutMs }
  if (address.startsWith('lmdb:') && address.length > 5) {
    const { LmdbMetadata } = await import('./lmdb-metadata.ts')
    return await LmdbMetadata.open({ directory: address.slice(5), bootId, ...wait })
  }
  const match = /^etcd:\/\/([^/]+)(?:\/(.*))?$/.exec(address)
  const hosts = match?.[1]?.split(',') ?? []
  if (hosts.length === 0 || !hosts.every(host => /^(\[[0-9a-fA-F:]+\]|[^:[\]]+):\d{1,5}$/.test(host))) {
    throw new MillraceError('INVALID_ARGUMENT', {
      argument: 'cluster',
      value: address,
      expected: 'lmdb:DIRECTORY or etcd://host:port[,host:port…][/prefix]',
    })
  }
  const { EtcdMetadata } = await import('./etcd-metadata.ts')
  const prefix = match?.[2] ? { prefix: `${match[2].replace(/\/+$/, '')}/` } : {}
  return new EtcdMetadata({ hosts, ...prefix, ...wait })
}
