/** `millrace verify` over a data directory, which looks at what Kafka's tool does not: epochs, and how segments join. */

import { type Finished, run } from '../../../bench/kafka/process.ts'
import { MAIN } from '../../client/cli/support/cli.ts'

const TIMEOUT_MS = 180_000

export const verify = (directory: string): Promise<Finished> =>
  run(process.execPath, [MAIN, '--dir', directory, 'verify'], { timeoutMs: TIMEOUT_MS })
