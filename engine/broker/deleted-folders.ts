/** Folders of partitions whose topic is deleted: renamed first, so that a crash leaves nothing under the topic's name. */
import { readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileError } from '../base/errors.ts'
import type { HostedPartition } from './partitions.ts'

const DELETED_SUFFIX = '-delete'

/** Returns the new path. @throws IO_ERROR */
export function renameDeleted(parent: string, { directory, topicId, partition }: HostedPartition): string {
  // By id: the topic's own name may be too long for a suffix.
  const deleted = join(parent, `${topicId}-${partition}${DELETED_SUFFIX}`)
  try {
    renameSync(directory, deleted)
  } catch (error) {
    throw fileError(error, { directory })
  }
  return deleted
}

/** Folders whose topic was being deleted when the process ended. */
export function deletedFolders(parent: string): string[] {
  const names = readdirSync(parent).filter(name => name.endsWith(DELETED_SUFFIX))
  return names.map(name => join(parent, name))
}
