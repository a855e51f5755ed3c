/**
 * Kafka's `partition.metadata` file: which topic a partition's folder belongs to, by the topic's id. Pure functions; any thread.
 *
 *     version: 0
 *     topic_id: cHKz4ePVQ9ybvY-wfCmqtA
 */

export const PARTITION_METADATA_NAME = 'partition.metadata'

const TEXT = /^version: 0\ntopic_id: ([A-Za-z0-9_-]{22})\n?$/
const GROUPS = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/

/** The topic's id as a UUID, or `undefined` when the text says none or is damaged. */
export function parsePartitionMetadata(text: string): string | undefined {
  const encoded = TEXT.exec(text)?.[1]
  if (encoded === undefined) return undefined
  const bytes = Buffer.from(encoded, 'base64url')
  // The last of 22 characters has four bits to spare; all zeros stand for no id.
  if (bytes.toString('base64url') !== encoded || bytes.every(byte => byte === 0)) return undefined
  return bytes.toString('hex').replace(GROUPS, '$1-$2-$3-$4-$5')
}
