/** What the logs of one writer thread have in common. */
import type { Clock } from '../base/clock.ts'
import type { ControlBlock } from '../memory/control-block.ts'
import type { SegmentEntries, SegmentTable } from '../memory/segment-table.ts'
import type { OpenFiles } from './open-files.ts'
import type { LogServices } from './services.ts'

export interface LogShared {
  readonly control: ControlBlock
  readonly table: SegmentTable
  readonly entries: SegmentEntries
  readonly services: LogServices
  readonly files: OpenFiles
  readonly clock: Clock
  /** `producer.id.expiration.ms`. */
  readonly producerIdExpirationMs: number
}
