/**
 * Named places where a test makes the engine die or fail, beside each step that a crash could split. They are set in
 * the environment variable `MILLRACE_FAILPOINTS` as `name=action[@count]` with commas between, where `action` is
 * `kill` (SIGKILL to the process), `exit` (the end of this thread), `throw` (an error in this thread) or `delay:MS`, and `count` is on
 * which pass of this thread it acts (default 1). Without the variable a failpoint is one comparison.
 */
import { MillraceError } from './errors.ts'
import { invariant } from './invariant.ts'

export const FAILPOINTS = [
  'metadata-before-commit',
  'append-before-copy',
  'append-torn-copy', // half of the batch is in the mapping
  'append-before-publish',
  'roll-before-create',
  'roll-after-create',
  'truncate-before-zero',
  'truncate-after-zero',
  'truncation-before-drop',
  'truncation-within-drop',
  'truncation-before-cut',
  'truncation-after-cut',
  'delete-records-before-put',
  'delete-records-after-put',
  'flush-before-sync',
  'flush-after-sync',
  'seal-before-cut',
  'recovery-before-cut',
  'recovery-after-cut',
  'checkpoint-before-put',
  'delete-before-unlink',
  'snapshot-before-write',
  'snapshot-before-rename',
  'snapshot-after-rename',
  'repair-before-rename',
  'compaction-before-swap',
  'compaction-after-swap',
  'compaction-within-swap', // some of the replaced segments are set aside
  'compaction-before-index',
  'compaction-before-sweep', // what was replaced is set aside, and to be deleted
  'adopt-before-store',
  'adopt-after-store',
  'share-before-put',
  'share-after-put', // stored, and not answered yet
  'dead-letter-after-append', // in its topic, and not archived yet
  'close-before-marker',
  'replicate-before-send', // copied from the leader's log, in the replicator's slabs
] as const

export type Failpoint = (typeof FAILPOINTS)[number]

interface Armed {
  readonly action: string
  remaining: number
}

const armed = parse(process.env['MILLRACE_FAILPOINTS'])

/** True when any failpoint is armed in this process. */
export const failpointsArmed = armed !== undefined

function parse(text: string | undefined): Map<string, Armed> | undefined {
  if (text === undefined || text === '') return undefined
  const points = new Map<string, Armed>()
  for (const entry of text.split(',')) {
    const match = /^([a-z-]+)=(kill|exit|throw|delay:\d+)(?:@(\d+))?$/.exec(entry.trim())
    if (match === null || !(FAILPOINTS as readonly string[]).includes(match[1] as string)) {
      throw new MillraceError('INVALID_ARGUMENT', { variable: 'MILLRACE_FAILPOINTS', entry })
    }
    points.set(match[1] as string, { action: match[2] as string, remaining: Number(match[3] ?? 1) })
  }
  return points
}

/** Passes the named point: does what a test armed, else nothing. */
export function failpoint(name: Failpoint): void {
  if (armed !== undefined) pass(name)
}

/** True when this pass of the point is the one that acts; for points that need to prepare damage first. */
export function failpointDue(name: Failpoint): boolean {
  return armed?.get(name)?.remaining === 1
}

function pass(name: Failpoint): void {
  const point = armed?.get(name)
  if (point === undefined || --point.remaining !== 0) return
  if (point.action === 'kill') {
    process.kill(process.pid, 'SIGKILL')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000) // the signal arrives while this thread waits
    invariant(false, 'SIGKILL did not arrive')
  }
  if (point.action === 'exit') process.exit(1)
  if (point.action === 'throw') throw new Error(`failpoint ${name}`)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(point.action.slice('delay:'.length)))
}
