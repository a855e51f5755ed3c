/** What the coordinator stores groups and committed offsets in: a broker's store, or one that other brokers follow. */
import type { GroupStore } from '../store/groups.ts'
import type { OffsetStore } from '../store/offsets.ts'

/** What the coordinator needs of the committed offsets. */
export type OffsetStorage = Pick<
  OffsetStore,
  'commit' | 'submit' | 'get' | 'ofGroup' | 'hasCommits' | 'groups' | 'delete' | 'deleteIf'
>

/** What the coordinator needs of a directory's store. */
export interface GroupStorage {
  readonly groups: Pick<GroupStore, keyof GroupStore>
  readonly offsets: OffsetStorage
}
