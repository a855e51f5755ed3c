/**
 * A full disk, on a small tmpfs and on a small ext4: typed errors at the producer, reading goes on, appends work again once there is
 * room, nothing acknowledged is lost, and no process ends by a signal (a store into a page without a block would be a SIGBUS).
 */
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../engine/base/random.ts'
import type { FullDiskPlan } from './programs/full-disk.ts'
import { readAckBook } from './support/ack-log.ts'
import { Checker } from './support/checker.ts'
import { Child } from './support/child.ts'
import { isRoot, mountImage, mountTmpfs, needTool, run, skip, temporaryDirectory } from './support/surroundings.ts'
import { verifyDirectory } from './support/verify.ts'

/** The control file takes 8 MiB of it, and 8 more while it is replaced. */
const DISK_BYTES = 48 * 1024 * 1024
/** Some 50 more than the ballast of that scenario and the engine's own files. */
const FILES_MAX = 220
const seed = testSeed()

function smallExt4(): { path: string } | string {
  if (!isRoot) return 'mounting a small file system needs root'
  const missing = needTool('mkfs.ext4', 'e2fsprogs')
  if (missing !== undefined) return missing
  const folder = temporaryDirectory('small')
  const image = join(folder, 'image')
  writeFileSync(image, '')
  truncateSync(image, DISK_BYTES)
  const failed = run('mkfs.ext4', '-q', '-F', '-m', '0', image)
  return failed ?? mountImage(image, join(folder, 'mount'))
}

const DISKS = { tmpfs: () => mountTmpfs(DISK_BYTES), ext4: smallExt4 } as const

interface Scene {
  readonly mount: string
  readonly ackPath: string
}

async function play(scene: Scene, run: number, scenario: string, durable: boolean): Promise<Child> {
  const child = new Child('full-disk.ts', { ...scene, run, scenario, durable } satisfies FullDiskPlan)
  const { code, signal } = await child.exit(60_000)
  const events = readAckBook({ path: scene.ackPath }).events
  const expected = scenario === 'crash' ? { code: null, signal: 'SIGKILL' } : { code: 0, signal: null }
  expect({ code, signal }, `${child.output}\n${events.join('\n')}`).toEqual(expected)
  return child
}

async function verify({ mount, ackPath }: Scene, context: string): Promise<void> {
  await verifyDirectory(join(mount, 'data'), readAckBook({ path: ackPath }), new Checker(new Random(seed)), context)
}

describe.for(['tmpfs', 'ext4'] as const)('a full %s', disk => {
  test.for([
    { scenario: 'append', durable: false },
    { scenario: 'append', durable: true },
    { scenario: 'hot path', durable: false },
    { scenario: 'own means', durable: false },
    { scenario: 'create', durable: false },
    { scenario: 'index', durable: false },
    { scenario: 'close', durable: false },
    { scenario: 'close', durable: true },
  ])('$scenario, durable: $durable', { timeout: 90_000 }, async ({ scenario, durable }, context) => {
    const mounted = DISKS[disk]()
    if (typeof mounted === 'string') return skip(context, mounted)
    const scene = { mount: mounted.path, ackPath: join(temporaryDirectory('full-acks'), 'acks') }
    await play(scene, 0, scenario, durable)
    await verify(scene, scenario)
  })

  test('recovery after a crash', { timeout: 90_000 }, async context => {
    const mounted = DISKS[disk]()
    if (typeof mounted === 'string') return skip(context, mounted)
    const scene = { mount: mounted.path, ackPath: join(temporaryDirectory('full-acks'), 'acks') }
    await play(scene, 0, 'crash', false)
    await play(scene, 1, 'recovery', false)
    await verify(scene, 'recovery')
  })
})

test('a disk that takes no further file', { timeout: 90_000 }, async context => {
  const mounted = mountTmpfs(DISK_BYTES, FILES_MAX)
  if (typeof mounted === 'string') return skip(context, mounted)
  const scene = { mount: mounted.path, ackPath: join(temporaryDirectory('full-acks'), 'acks') }
  await play(scene, 0, 'files', false)
  await verify(scene, 'files')
})
