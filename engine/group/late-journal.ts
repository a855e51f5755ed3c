/** The replication of groups before it is known who replicates them: a broker has its groups before it has joined its cluster. */
import { type ErrorCode, MillraceError } from '../base/errors.ts'
import type { GroupStore } from '../store/groups.ts'
import type { OffsetStore } from '../store/offsets.ts'
import { type GroupJournal, type JournalChange, ReplicatedStorage } from './replicated-storage.ts'
import type { GroupStorage } from './storage.ts'

/** A journal that also says for which groups this broker answers. */
export interface GatedJournal extends GroupJournal {
  gate(groupId: string): ErrorCode | undefined
}

export class LateJournal implements GroupJournal {
  readonly storage: GroupStorage
  readonly gate = (groupId: string): ErrorCode | undefined =>
    this.#journal === undefined ? 'COORDINATOR_NOT_AVAILABLE' : this.#journal.gate(groupId)
  #journal: GatedJournal | undefined

  constructor(store: { readonly groups: GroupStore; readonly offsets: OffsetStore }) {
    this.storage = new ReplicatedStorage(store, this)
  }

  /** From now on changes go here. */
  use(journal: GatedJournal): void {
    this.#journal = journal
  }

  append(groupId: string, changes: readonly JournalChange[]): Promise<void> {
    if (this.#journal !== undefined) return this.#journal.append(groupId, changes)
    return Promise.reject(new MillraceError('COORDINATOR_NOT_AVAILABLE', { groupId: groupId.slice(0, 100) }))
  }
}
