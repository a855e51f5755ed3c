/**
 * The metadata of a directory: one LMDB environment, one named database for each kind of fact (their layouts stand at
 * the head of the files beside this one). Owned by the broker's thread; other threads send it what is to be stored.
 * Calls without a promise are on disk when they return; promises resolve when they are. Reads see all that was
 * committed when they are made, also beside a live owner.
 * Invariant: a directory of a newer format is refused before anything in it is changed.
 */
import { join } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { CheckpointStore, readCheckpoint } from './checkpoints.ts'
import { Environment, STORE_FOLDER, syncFolder } from './environment.ts'
import { GroupStore, readGroupEntry, type StoredGroup, type StoredMember } from './groups.ts'
import { ALL_KEYS } from './keys.ts'
import { type CleanShutdown, FORMAT_VERSION, META_DATABASE, MetaStore, readFact } from './meta.ts'
import { OffsetStore, readCommittedOffset } from './offsets.ts'
import { readCompatibility, readSchema, readSchemaId, readVersion, SchemaStore } from './schemas.ts'
import { readShareFacts, readShareGroup, readShareRuns, ShareStore } from './share-states.ts'
import { Table, type ValueReader } from './table.ts'
import { readTopic, TopicStore } from './topics.ts'

const FACT_DATABASES = [
  'topics',
  'checkpoints',
  'offsets',
  'groups',
  'share-groups',
  'share-partitions',
  'share-runs',
  'schemas',
  'schema-texts',
  'subjects',
  'compatibility',
] as const
type FactDatabase = (typeof FACT_DATABASES)[number]

export interface StoreOptions {
  /** Open beside a live owner and change nothing, default false. */
  readonly readOnly?: boolean
  /** Stamps what is created; the system's clock by default. */
  readonly clock?: Clock
}

export class Store {
  readonly directory: string
  readonly readOnly: boolean
  /** UUID of the directory, drawn when it was created. */
  readonly directoryId: string
  readonly topics: TopicStore
  readonly checkpoints: CheckpointStore
  readonly offsets: OffsetStore
  readonly groups: GroupStore
  readonly shares: ShareStore
  readonly schemas: SchemaStore
  readonly #environment: Environment
  readonly #meta: MetaStore

  private constructor(environment: Environment, meta: MetaStore, clock: Clock) {
    const table = <V>(name: FactDatabase, reader: ValueReader<V>): Table<V> => openTable(environment, name, reader)
    this.directory = environment.directory
    this.readOnly = environment.readOnly
    this.#environment = environment
    this.#meta = meta
    this.directoryId = meta.directoryId()
    this.topics = new TopicStore(environment, table('topics', readTopic), clock, topicId => {
      this.checkpoints.removeTopic(topicId)
      this.offsets.removeTopic(topicId)
      this.shares.removeTopic(topicId)
    })
    this.checkpoints = new CheckpointStore(environment, table('checkpoints', readCheckpoint), this.topics)
    this.offsets = new OffsetStore(environment, table('offsets', readCommittedOffset), this.topics)
    this.groups = new GroupStore(environment, this.#groupTable(), this.offsets)
    this.shares = new ShareStore(
      environment,
      {
        groups: lateTable(environment, 'share-groups', readShareGroup),
        partitions: lateTable(environment, 'share-partitions', readShareFacts),
        runs: lateTable(environment, 'share-runs', readShareRuns),
      },
      this.topics,
    )
    this.schemas = new SchemaStore(
      environment,
      {
        schemas: table('schemas', readSchema),
        texts: table('schema-texts', readSchemaId),
        subjects: table('subjects', readVersion),
        compatibility: lateTable(environment, 'compatibility', readCompatibility),
      },
      meta,
    )
  }

  /**
   * Opens the store of a directory; without `readOnly` it is created where there is none. The caller holds the
   * directory's lock: two writers are not told apart here.
   * @throws DIRECTORY_NOT_FOUND (readOnly), NEWER_FORMAT {found, supported}, CORRUPT_STORE, DISK_FULL, IO_ERROR,
   *   DIRECTORY_LOCKED when this process has it open read-only only
   * Cost: one read of every page in use, see data-file.ts; about 2 ms for 1,000 partitions.
   */
  static open(directory: string, options: StoreOptions = {}): Store {
    const environment = Environment.open(directory, options.readOnly ?? false)
    try {
      return new Store(environment, openMeta(environment), options.clock ?? systemClock)
    } catch (error) {
      void environment.close()
      throw error
    }
  }

  /** Directories that were written before there were groups have none. */
  #groupTable(): Table<StoredGroup | StoredMember> | undefined {
    const database = this.#environment.database('groups', !this.readOnly)
    return database && new Table(this.#environment, 'groups', database, readGroupEntry)
  }

  /** Submitted writes that are not on disk yet. */
  get pendingWrites(): number {
    return this.#environment.pendingWrites
  }

  /** The marker of a clean close, without taking it. */
  get cleanShutdown(): CleanShutdown | undefined {
    return this.#meta.cleanShutdown()
  }

  /** Returns the marker of a clean close and removes it; on disk when this returns. */
  takeProducerIds(count: number): number {
    return this.#meta.takeProducerIds(count)
  }

  takeCleanShutdown(): CleanShutdown | undefined {
    return this.#meta.takeCleanShutdown()
  }

  /** Leaves the marker of a clean close, behind all that was submitted before; resolves when it is on disk. */
  markCleanShutdown(marker: CleanShutdown): Promise<void> {
    return this.#meta.markCleanShutdown(marker)
  }

  /** Resolves when everything that was submitted is on disk, and the environment is closed. May be called twice. */
  close(): Promise<void> {
    return this.#environment.close()
  }
}

/** Opens `meta` first: whether the directory may be touched at all stands in it. */
function openMeta(environment: Environment): MetaStore {
  const { directory, readOnly } = environment
  const existing = environment.database(META_DATABASE, false)
  if (existing !== undefined) {
    const meta = new MetaStore(environment, new Table(environment, META_DATABASE, existing, readFact))
    const found = meta.formatVersion()
    if (found !== undefined && found > FORMAT_VERSION) {
      throw new MillraceError('NEWER_FORMAT', { directory, found, supported: FORMAT_VERSION })
    }
    if (found !== undefined) return meta
  }
  // A directory without a format: its creation was interrupted, unless it holds topics.
  if (readOnly) throw new MillraceError('DIRECTORY_NOT_FOUND', { directory })
  if (openTable(environment, 'topics', readTopic).firstKey(ALL_KEYS) !== undefined) {
    throw new MillraceError('CORRUPT_STORE', { database: META_DATABASE, key: 'format', reason: 'missing' })
  }
  return create(environment)
}

/** Creates the databases and, last, the format: a reader that finds the format finds everything. */
function create(environment: Environment): MetaStore {
  for (const name of FACT_DATABASES) environment.database(name, true)
  const meta = new MetaStore(environment, openTable(environment, META_DATABASE, readFact))
  environment.transact(() => meta.initialize())
  syncFolder(join(environment.directory, STORE_FOLDER))
  return meta
}

function openTable<V>(environment: Environment, name: FactDatabase | 'meta', reader: ValueReader<V>): Table<V> {
  const database = environment.database(name, !environment.readOnly)
  if (database === undefined) throw new MillraceError('CORRUPT_STORE', { database: name, reason: 'missing' })
  return new Table(environment, name, database, reader)
}

/** A database that directories were once made without: an owner adds it, a reader beside an older one finds none. */
function lateTable<V>(
  environment: Environment,
  name: FactDatabase,
  reader: ValueReader<V>,
): () => Table<V> | undefined {
  let table: Table<V> | undefined
  const open = (): Table<V> | undefined => {
    if (table !== undefined) return table
    const database = environment.database(name, !environment.readOnly)
    if (database !== undefined) table = new Table(environment, name, database, reader)
    return table
  }
  if (!environment.readOnly) open()
  return open
}
