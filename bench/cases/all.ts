/** The engine's cases in the order of the table. */
import type { BenchCase } from '../harness/case.ts'
import { appendCases } from './append.ts'
import { avroCases } from './avro.ts'
import { compactCases } from './compact.ts'
import { durableCases } from './durable.ts'
import { groupCases } from './group.ts'
import { groupConsumeCases } from './group-consume.ts'
import { latencyCases } from './latency.ts'
import { lookupCases } from './lookup.ts'
import { memoryCases } from './memory.ts'
import { partitionCases } from './partitions.ts'
import { queueCases } from './queue.ts'
import { readCases } from './read.ts'
import { recoveryCases } from './recovery.ts'
import { replicateCases } from './replicate.ts'
import { replicateTcpCases } from './replicate-tcp.ts'
import { verifyCases } from './verify.ts'

export const engineCases: BenchCase[] = [
  ...appendCases,
  ...durableCases,
  ...readCases,
  ...groupConsumeCases,
  ...lookupCases,
  ...latencyCases,
  ...recoveryCases,
  ...verifyCases,
  ...avroCases,
  ...compactCases,
  ...queueCases,
  ...groupCases,
  ...partitionCases,
  ...memoryCases,
  ...replicateCases,
  ...replicateTcpCases,
]
