/**
 * Loss of power: on images of a real disk where that can be had, and everywhere by a simulation that tears what was not flushed.
 * What was acknowledged or shown on a durable topic is there; of other topics a beginning is, and what a recovery once found.
 * Power is lost again and again on the same disk, so stale batches behind a tear have every chance to come back.
 */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import type { AppendPlan } from './programs/appender.ts'
import { type AckSource, readAckBook } from './support/ack-log.ts'
import { Checker } from './support/checker.ts'
import { Child } from './support/child.ts'
import { PowerRig } from './support/power-rig.ts'
import { loseUnflushed } from './support/power-simulation.ts'
import { skip, temporaryDirectory } from './support/surroundings.ts'
import { verifyDirectory } from './support/verify.ts'

const DURABLE: ReadonlySet<string> = new Set(['durable'])
const LOSSES = 3
const SNAPSHOTS_PER_LOSS = 3
const SIMULATED_LOSSES = 8

const seed = testSeed()
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Opens a directory after a loss of power and checks it. */
function verify(directory: string, sources: readonly AckSource[], random: Random, context: string): Promise<number> {
  const options = { holds: (topic: string) => DURABLE.has(topic) }
  return verifyDirectory(directory, readAckBook(...sources), new Checker(random), context, options)
}

function startAppender(directory: string, ackPath: string, run: number, random: Random): Child {
  return new Child('appender.ts', { directory, ackPath, run, seed: random.u32() } satisfies AppendPlan)
}

test('durable records survive it, on images of a real disk', { timeout: 120_000 }, async context => {
  const rig = PowerRig.create()
  if (typeof rig === 'string') return skip(context, rig)
  const random = new Random(seed)
  const acks = temporaryDirectory('power-acks')
  const sources: AckSource[] = []
  let disk = rig.newDisk()
  let records = 0
  for (let loss = 0; loss < LOSSES; loss++) {
    const live = rig.mount(disk)
    const ackPath = join(acks, `acks-${loss}`)
    const child = startAppender(join(live.path, 'data'), ackPath, loss, random)
    await child.line(/^ready$/)
    const snapshots: { image: string; bytes: number; begunBytes: number }[] = []
    for (let i = 0; i < SNAPSHOTS_PER_LOSS; i++) {
      await pause(random.between(20, 300))
      const bytes = statSync(ackPath).size // first: what is acknowledged from now on may be missing
      const image = rig.snapshot(disk)
      snapshots.push({ image, bytes, begunBytes: statSync(ackPath).size })
    }
    await child.kill()
    expect(readAckBook({ path: ackPath }).events).toEqual([])
    live.unmount()
    for (const { image, bytes, begunBytes } of snapshots.slice(0, -1)) {
      const copy = rig.mount(image)
      const seen = [...sources, { path: ackPath, bytes, begunBytes }]
      records += await verify(join(copy.path, 'data'), seen, random, `loss ${loss}`)
      copy.unmount()
    }
    // The last one is where the machine comes back; with or without a look at it the next process goes on there.
    const { image, ...last } = snapshots.at(-1) as { image: string; bytes: number; begunBytes: number }
    sources.push({ path: ackPath, ...last })
    disk = image
    if (loss < LOSSES - 1 && random.chance(0.5)) continue
    const copy = rig.mount(disk)
    records += await verify(join(copy.path, 'data'), sources, random, `loss ${loss}, the last image`)
    copy.unmount()
  }
  expect(records).toBeGreaterThan(0)
})

test('durable records survive a simulation of it', { timeout: 120_000 }, async () => {
  const random = new Random(seed + 1)
  const folder = temporaryDirectory('power-simulation')
  const sources: AckSource[] = []
  let directory = join(folder, 'data-0')
  let records = 0
  for (let loss = 0; loss < SIMULATED_LOSSES; loss++) {
    const ackPath = join(folder, `acks-${loss}`)
    const child = startAppender(directory, ackPath, loss, random)
    await child.line(/^ready$/)
    await pause(random.between(20, 400))
    child.signal('SIGSTOP')
    const bytes = statSync(ackPath).size
    const copy = join(folder, `data-${loss + 1}`)
    expect(spawnSync('cp', ['-a', directory, copy]).status).toBe(0)
    await child.kill()
    sources.push({ path: ackPath, bytes })
    const book = readAckBook(...sources)
    expect(book.events).toEqual([])
    await loseUnflushed(copy, book, DURABLE, random)
    directory = copy
    if (random.chance(0.6) || loss === SIMULATED_LOSSES - 1) {
      records += await verify(directory, sources, random, `simulated loss ${loss}`)
    }
  }
  expect(records).toBeGreaterThan(0)
})
