/**
 * `kill -9` at the places where a crash could split a step: each named failpoint of the engine kills the process there, the next
 * start recovers, appends go on in the same directory and are killed once more.
 */
import { describe, expect, test } from 'vitest'
import { FAILPOINTS, type Failpoint } from '../../engine/base/failpoints.ts'
import { Random, testSeed } from '../../engine/base/random.ts'
import { CrashChain, type CrashRound } from './support/crash-chain.ts'
import { failpointPasses } from './support/kill-rounds.ts'

interface KillCase {
  readonly point: Failpoint
  /** The pass that kills is drawn from 1 to this. */
  readonly passesMax: number
  /** When the point is passed: while appending, in the recovery of the start, or while the engine closes. */
  readonly when: 'appending' | 'recovery' | 'closing'
  /** Needs a torn batch, left by a round before. */
  readonly torn?: boolean
}

const CASES: readonly KillCase[] = [
  { point: 'append-before-copy', passesMax: 200, when: 'appending' },
  { point: 'append-torn-copy', passesMax: 200, when: 'appending' },
  { point: 'append-before-publish', passesMax: 200, when: 'appending' },
  { point: 'roll-before-create', passesMax: 8, when: 'appending' },
  { point: 'roll-after-create', passesMax: 8, when: 'appending' },
  { point: 'snapshot-before-write', passesMax: 8, when: 'appending' },
  { point: 'snapshot-before-rename', passesMax: 8, when: 'appending' },
  { point: 'snapshot-after-rename', passesMax: 8, when: 'appending' },
  { point: 'flush-before-sync', passesMax: 50, when: 'appending' },
  { point: 'flush-after-sync', passesMax: 50, when: 'appending' },
  { point: 'seal-before-cut', passesMax: 8, when: 'appending' },
  { point: 'checkpoint-before-put', passesMax: 3, when: 'appending' },
  { point: 'delete-before-unlink', passesMax: 4, when: 'appending' },
  { point: 'truncate-before-zero', passesMax: 2, when: 'recovery' },
  { point: 'truncate-after-zero', passesMax: 2, when: 'recovery' },
  { point: 'recovery-before-cut', passesMax: 1, when: 'recovery', torn: true },
  { point: 'recovery-after-cut', passesMax: 1, when: 'recovery', torn: true },
  { point: 'close-before-marker', passesMax: 1, when: 'closing' },
]

/**
 * Elsewhere: a repair follows a failed flush, see flush-errors.test.ts; compaction has records with keys, see
 * compaction-kill.test.ts; folders are taken in by adoption-kill.test.ts; logs are cut in truncation-kill.test.ts;
 * jobs are in queue-kill.test.ts.
 */
const ELSEWHERE: readonly Failpoint[] = [
  'metadata-before-commit',
  'truncation-before-drop',
  'truncation-within-drop',
  'truncation-before-cut',
  'truncation-after-cut',
  'delete-records-before-put',
  'delete-records-after-put',
  'repair-before-rename',
  'compaction-before-swap',
  'compaction-after-swap',
  'compaction-within-swap',
  'compaction-before-index',
  'compaction-before-sweep',
  'adopt-before-store',
  'adopt-after-store',
  'share-before-put',
  'share-after-put',
  'dead-letter-after-append',
  'replicate-before-send', // test/client/replicator.test.ts
]

const LATEST_MS = 15_000
/**
 * Points that follow one another in one directory: what goes on behind one is killed at the next. In `npm run test:faults` each
 * has a directory of its own, and is killed once more at a random moment.
 */
const POINTS_PER_DIRECTORY = process.env['MILLRACE_FAULTS'] === 'all' ? 1 : 6
const seed = testSeed()

function roundAt({ point, passesMax, when }: KillCase, random: Random): CrashRound {
  const failpoints = `${point}=kill@${random.between(1, passesMax)}`
  const closing = when === 'closing' ? { closeAfterMs: 50 } : {}
  return { failpoints, countedFrom: when === 'recovery' ? 'start' : 'ready', killAfterMs: LATEST_MS, ...closing }
}

test('every failpoint is a case', () => {
  expect([...CASES.map(({ point }) => point), ...ELSEWHERE].sort()).toEqual([...FAILPOINTS].sort())
})

describe('kill -9 at failpoints', () => {
  const directories = CASES.length / POINTS_PER_DIRECTORY
  const all = Array.from({ length: failpointPasses() * directories }, (_, index) => {
    const first = (index % directories) * POINTS_PER_DIRECTORY
    const kills = CASES.slice(first, first + POINTS_PER_DIRECTORY)
    return { index, kills, points: kills.map(({ point }) => point).join(', '), pass: Math.floor(index / directories) }
  })
  test.for(all)('$points (pass $pass)', { timeout: 90_000 * POINTS_PER_DIRECTORY }, async ({ index, kills }) => {
    const random = new Random(seed + index)
    const chain = new CrashChain(random)
    for (const kill of kills) {
      await prepare(chain, kill, random)
      expect(await chain.round(roundAt(kill, random)), `${kill.point} was passed; seed ${random.seed}`).toBe(
        'failpoint',
      )
      if (random.chance(0.5)) await chain.verify()
    }
    if (POINTS_PER_DIRECTORY === 1) await chain.round({ countedFrom: 'ready', killAfterMs: random.below(150) })
    await chain.verify()
  })
})

/** What must have happened before a recovery passes its point. */
async function prepare(chain: CrashChain, kill: KillCase, random: Random): Promise<void> {
  if (kill.torn === true) {
    const tearing = { ...kill, point: 'append-torn-copy', passesMax: 200, when: 'appending' } as const
    expect(await chain.round(roundAt(tearing, random))).toBe('failpoint')
  } else if (kill.when === 'recovery') {
    // A recovery has something to cut where records were: on a slow machine 150 ms are not enough for that.
    expect(await chain.round({ countedFrom: 'acknowledged', killAfterMs: 0 })).toBe('killed')
  }
}
