/**
 * The threads of a running engine: a Piscina pool of writers and one of services and jobs. Owned by the broker's thread.
 * A writer or a service is one long task; jobs (recovery, repair, removal of folders) are short tasks beside them.
 */
import { Piscina } from 'piscina'
import type { JobRequest, JobResult } from '../log/jobs.ts'
import type { DetachedPartition, WorkerEvent } from '../log/mail.ts'
import { type EngineMemory, SERVICE, STOP_PHASE } from '../memory/engine-memory.ts'
import { serviceRingBuffer } from '../memory/service-ring.ts'
import type { ResolvedOptions } from './options.ts'
import { WorkerLoop } from './worker-loop.ts'

// Sources run as they are in development, so the entry points end as this file does.
const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const entry = (name: string): string => new URL(`../../workers/${name}${extension}`, import.meta.url).href

/**
 * What a thread's heap may set aside for young objects. Left to itself it takes up to 48 MiB a thread when a start handles
 * thousands of partitions, and keeps them; nothing that these threads do is faster with more.
 */
const THREAD_HEAP = { maxYoungGenerationSizeMb: 4 } as const

export interface ThreadEvents {
  event(event: WorkerEvent): void
  writerCrashed(writer: number, error: unknown): void
  serviceCrashed(service: ServiceName, error: unknown): void
}

export type ServiceName = keyof typeof SERVICE
type Rings = { flusher: SharedArrayBuffer; janitor: SharedArrayBuffer }

export class Threads {
  readonly #memory: EngineMemory
  readonly #options: ResolvedOptions
  readonly #events: ThreadEvents
  readonly #writerPool: Piscina
  readonly #servicePool: Piscina
  readonly #rings: Rings[] = []
  readonly #writers: WorkerLoop<DetachedPartition[]>[] = []
  readonly #services = new Map<ServiceName, WorkerLoop<void>>()
  #stopping = false

  constructor(memory: EngineMemory, options: ResolvedOptions, events: ThreadEvents) {
    this.#memory = memory
    this.#options = options
    this.#events = events
    const { writers, jobThreads } = options
    // A descriptor that a writer opens is closed by the flusher. Node would close its number once more when the writer's
    // thread ends, whatever file, socket or store has it by then.
    const common = { atomics: 'async', trackUnmanagedFds: false, resourceLimits: THREAD_HEAP } as const
    this.#writerPool = new Piscina({
      ...common,
      idleTimeout: Number.POSITIVE_INFINITY,
      filename: entry('writer'),
      minThreads: writers,
      maxThreads: writers,
    })
    const threads = Object.keys(SERVICE).length + jobThreads + 1 // one may be compacting for a long time
    this.#servicePool = new Piscina({
      ...common,
      idleTimeout: 2_000,
      filename: entry('jobs'),
      minThreads: Object.keys(SERVICE).length,
      maxThreads: threads,
    })
    for (let writer = 0; writer < writers; writer++) {
      this.#rings.push({ flusher: serviceRingBuffer(), janitor: serviceRingBuffer() })
    }
    for (const name of Object.keys(SERVICE) as ServiceName[]) this.#startService(name)
    for (let writer = 0; writer < writers; writer++) this.#startWriter(writer)
  }

  get writerCount(): number {
    return this.#options.writers
  }

  writer(writer: number): WorkerLoop<DetachedPartition[]> {
    return this.#writers[writer] as WorkerLoop<DetachedPartition[]>
  }

  service(name: ServiceName): WorkerLoop<void> {
    return this.#services.get(name) as WorkerLoop<void>
  }

  get services(): IterableIterator<WorkerLoop<void>> {
    return this.#services.values()
  }

  #startWriter(writer: number): void {
    const { flusher, janitor } = this.#rings[writer] as Rings
    const { writers, producerIdExpirationMs } = this.#options
    const start = { writers, producerIdExpirationMs, flusherRing: flusher, janitorRing: janitor }
    this.#writers[writer] = new WorkerLoop(
      this.#writerPool,
      { filename: entry('writer') },
      writer,
      this.#memory,
      start,
      this.#options.requestTimeoutMs,
      {
        event: event => this.#events.event(event),
        crashed: error => {
          if (!this.#stopping) this.#events.writerCrashed(writer, error)
        },
      },
    )
  }

  #startService(name: ServiceName): void {
    const rings = name === 'indexer' ? [] : this.#rings.map(ring => ring[name])
    this.#services.set(
      name,
      new WorkerLoop(
        this.#servicePool,
        { filename: entry(name) },
        SERVICE[name],
        this.#memory,
        { rings },
        this.#options.requestTimeoutMs,
        {
          event: event => this.#events.event(event),
          crashed: error => {
            if (!this.#stopping) this.#events.serviceCrashed(name, error)
          },
        },
      ),
    )
  }

  /** Starts a writer in the place of one that died, with rings of its own. The services already serve those. */
  restartWriter(writer: number): void {
    this.#startWriter(writer)
  }

  /** New rings for a writer that died; the old ones are the services' to drain. */
  replaceRings(writer: number): Rings {
    const rings = { flusher: serviceRingBuffer(), janitor: serviceRingBuffer() }
    this.#rings[writer] = rings
    return rings
  }

  restartService(name: ServiceName): void {
    this.#startService(name)
  }

  runJob<Kind extends JobRequest['kind']>(job: Extract<JobRequest, { kind: Kind }>): Promise<JobResult[Kind]> {
    return this.#servicePool.run(job, { filename: entry('jobs') }) as Promise<JobResult[Kind]>
  }

  /** Stops writers, then services, then the pools. Returns how the partitions stood when their writers closed them. */
  async stop(): Promise<DetachedPartition[]> {
    this.#stopping = true
    this.#memory.stop(STOP_PHASE.writers)
    const closed = await Promise.all(this.#writers.map(writer => writer.result))
    this.#memory.stop(STOP_PHASE.services)
    await Promise.all([...this.#services.values()].map(service => service.result))
    await Promise.all([this.#writerPool.destroy(), this.#servicePool.destroy()])
    return closed.flatMap(partitions => partitions ?? [])
  }
}
