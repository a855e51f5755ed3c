/** An engine in a folder of its own for one test file, and everything that went wrong in it behind the scenes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { Millrace, type MillraceOptions } from '../../../client/index.ts'

/** Small files: views of a gigabyte take a garbage collection each. */
export const SMALL = { 'segment.bytes': 16_384, 'index.interval.bytes': 500 }
export const MEDIUM = { 'segment.bytes': 4 * 2 ** 20 }

const THREADS: MillraceOptions = { writers: 2, jobThreads: 1 }

export class EngineHome {
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-client-'))
  /** Warnings, stopped partitions, crashed writers: a test that provokes one takes it out. */
  readonly faults: string[] = []
  #engine: Millrace | undefined
  #topics = 0

  /** @param options over two writers and one job thread */
  static async open(options: MillraceOptions = {}): Promise<EngineHome> {
    const home = new EngineHome()
    await home.reopen(options)
    return home
  }

  get engine(): Millrace {
    return this.#engine as Millrace
  }

  /** Closes the engine, if it is open, and opens the directory again. */
  async reopen(options: MillraceOptions = {}): Promise<Millrace> {
    await this.#engine?.close()
    const events = {
      warning: (error: Error) => void this.faults.push(`warning: ${error.message}`),
      partitionFailed: (_: unknown, error: Error) => void this.faults.push(`partition failed: ${error.message}`),
      writerRestarted: (_: unknown, error: Error) => void this.faults.push(`writer restarted: ${error.message}`),
      recovered: (_: unknown, reports: unknown) => void this.faults.push(`recovered: ${JSON.stringify(reports)}`),
    }
    this.#engine = await Millrace.open(this.directory, { ...THREADS, ...options }, events)
    return this.#engine
  }

  /** Creates a topic under a name of its own. */
  async topic(partitions = 1, config: Record<string, string | number> = MEDIUM): Promise<string> {
    const topic = `topic-${this.#topics++}`
    await this.engine.admin.createTopic({ topic, partitions, config })
    return topic
  }

  partitionDirectory(topic: string, partition = 0): string {
    return join(this.directory, `${topic}-${partition}`)
  }

  /** Closes the engine, removes the folder, and fails if something went wrong behind the scenes. */
  async close(): Promise<void> {
    await this.#engine?.close()
    rmSync(this.directory, { recursive: true, force: true })
    expect(this.faults).toEqual([])
  }
}

export const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString()

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Waits until something holds, looking every few milliseconds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(2)
  }
}

/** All values of a topic, by partition, in order. */
export async function readValues(engine: Millrace, topic: string): Promise<(string | null)[][]> {
  const { partitions } = await engine.admin.describeTopic(topic)
  const values: (string | null)[][] = partitions.map(() => [])
  for await (const { partition, value } of engine.reader({ topic }).records()) values[partition]?.push(text(value))
  return values
}
