/** Opening the directory for a command: to look at it, beside a service too, or to change it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { MillraceError } from '../../engine/base/errors.ts'
import { Millrace, type MillraceOptions } from '../millrace.ts'
import type { Context } from './context.ts'

/** Threads of a short-lived engine: it is started and stopped for one command. */
const THREADS = { writers: 1, jobThreads: 1 }

/** Runs `work` with a read-only view of the directory. @throws DIRECTORY_NOT_FOUND, and what `work` throws */
export async function looking<T>(context: Context, work: (engine: Millrace) => Promise<T>): Promise<T> {
  const engine = await Millrace.open(context.directory, { readOnly: true })
  try {
    return await work(engine)
  } finally {
    await engine.close()
  }
}

/**
 * Runs `work` as the owner of the directory. What recovery had to do is told on stderr.
 * @param options of the engine
 * @param create make the directory if it is not there; else a wrong path would become a new, empty directory
 * @throws DIRECTORY_LOCKED, DIRECTORY_NOT_FOUND, and what `work` throws
 */
export async function owning<T>(
  context: Context,
  create: boolean,
  work: (engine: Millrace) => Promise<T>,
  options: MillraceOptions = THREADS,
): Promise<T> {
  const { directory } = context
  if (!create && !existsSync(join(directory, 'store'))) throw new MillraceError('DIRECTORY_NOT_FOUND', { directory })
  const engine = await Millrace.open(directory, options, {
    recovered: ({ topic, partition }, reports) => {
      for (const { path, position, reason, decision } of reports) {
        context.note(`recovered ${topic}/${partition}: ${decision} ${path} at ${position}: ${reason}`)
      }
    },
    partitionFailed: ({ topic, partition }, error) => context.note(`${topic}/${partition} stopped: ${error.message}`),
    warning: error => context.note(`warning: ${error.message}`),
  })
  try {
    return await work(engine)
  } finally {
    await engine.close()
  }
}
