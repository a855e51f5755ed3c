/** Opens a directory after a fault, which recovers it, holds it against the acknowledgements, closes it and checks its files. */
import { Millrace } from '../../../client/index.ts'
import { INDEX_INTERVAL_BYTES } from '../programs/topics.ts'
import type { AckBook } from './ack-log.ts'
import type { Checker, CheckOptions } from './checker.ts'
import { folderFaults, tailFaults } from './folder-check.ts'

/** @returns records that are there; fails the test with everything that is wrong */
export async function verifyDirectory(
  directory: string,
  book: AckBook,
  checker: Checker,
  context: string,
  options: CheckOptions = {},
): Promise<number> {
  const engine = await Millrace.open(
    directory,
    { writers: 1, jobThreads: 1 },
    {
      partitionFailed: ({ topic, partition }, error) => checker.faults.push(`${topic}/${partition}: ${error.message}`),
    },
  )
  let records = 0
  try {
    checker.faults.push(...tailFaults(directory))
    for (const { keys } of await checker.check(engine, book, options)) records += keys.length
  } finally {
    await engine.close()
  }
  checker.faults.push(...folderFaults(directory, INDEX_INTERVAL_BYTES))
  checker.demandSound(context)
  return records
}
