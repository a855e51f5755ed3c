/** A log that processes appended to until they were killed. */
import { Child } from '../../faults/support/child.ts'

/** Has processes append to a topic and kills them with SIGKILL, each behind what the one before left. */
export async function kill(directory: string, topic: string, times: number): Promise<void> {
  for (let round = 0; round < times; round++) {
    const child = new Child('../../kafka/programs/killed.ts', { directory, topic, from: round * 1_000 })
    await child.line(/^ready$/, 120_000)
    await child.kill()
  }
}
