/**
 * What can only be shown in a process of its own: mappings that go when their windows are collected (run with
 * `--expose-gc`), stores that end the process, and a lock that a dead process held. `argv`: scenario, folder.
 * Prints one line of JSON.
 */
import { closeSync, existsSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngineMemory, EngineMemory } from '../../../engine/memory/engine-memory.ts'
import { tryLock } from '../../../engine/memory/libc.ts'
import { Mapping, mappingStatistics } from '../../../engine/memory/mapping.ts'
import { runThread } from './threads.ts'

const [, , scenario = '', folder = ''] = process.argv
const BYTES = 1 << 20

/** Lines of this process' memory map that name `path`. */
function mapped(path: string): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter(line => line.includes(path)).length
}

const never = (): boolean => false

const { gc } = globalThis as unknown as { gc: () => void }

/** Collects garbage and lets finalizers run until `done`, or for long enough to say that it never will be. */
async function collect(done: () => boolean = never): Promise<boolean> {
  const turns = done === never ? 8 : 100
  for (let turn = 0; turn < turns; turn++) {
    gc()
    await sleep(turn < 8 ? 2 : 20)
    if (done()) return true
  }
  return done()
}

function fileOf(name: string): string {
  const path = join(folder, name)
  const bytes = Buffer.alloc(BYTES)
  for (let at = 0; at < BYTES; at += 4) bytes.writeUInt32LE(at, at)
  writeFileSync(path, bytes)
  return path
}

const holds = (bytes: Uint8Array, at: number): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE() === at

const scenarios: Record<string, () => Promise<unknown>> = {
  /** The file goes, then the owner, then one window after the other. */
  async 'lent windows'() {
    const path = fileOf('lent.log')
    const mapping = Mapping.ofPath(path, BYTES)
    let first: Uint8Array | undefined = new Uint8Array(mapping.lend(0, BYTES)).subarray(4_096, 8_192)
    let second: Uint8Array | undefined = new Uint8Array(mapping.lend(65_536, 4_096))
    const before = mappingStatistics()
    unlinkSync(path)
    mapping.release()
    mapping.release()
    const released = mappingStatistics()
    await collect()
    const bothRead = holds(first, 4_096) && holds(second, 65_536) && !existsSync(path)
    first = undefined
    await collect()
    const afterFirst = mapped(path)
    const secondReads = holds(second, 65_536)
    second = undefined
    const gone = await collect(() => mapped(path) === 0)
    return { before, released, bothRead, afterFirst, secondReads, gone, after: mappingStatistics() }
  },

  /** Windows that are collected before the owner lets go do not unmap what is his. */
  async 'owner last'() {
    const path = fileOf('owner.log')
    const mapping = Mapping.ofPath(path, BYTES)
    for (let count = 0; count < 100; count++) mapping.lend(count * 64, 64)
    await collect()
    const held = mapped(path)
    const reads = holds(mapping.region.bytes.subarray(128), 128)
    mapping.lend(0, 64)
    await collect()
    const before = mappingStatistics()
    mapping.release()
    return { held, reads, before, after: mapped(path), statistics: mappingStatistics() }
  },

  /** Worker loops leave nothing of the control file mapped when their threads end. */
  async 'ending threads'() {
    const handle = createEngineMemory(folder)
    for (let thread = 0; thread < 3; thread++) await runThread('ending-thread.ts', handle)
    return { left: mapped(handle.path) }
  },

  /** An engine's memory goes when nothing looks at it any more. */
  async 'engine memory'() {
    const handle = createEngineMemory(folder)
    let memory: EngineMemory | undefined = new EngineMemory(handle)
    let control: unknown = memory.control
    memory.release()
    memory = undefined
    await collect()
    const whileLookedAt = mapped(handle.path)
    control = undefined
    const gone = await collect(() => mapped(handle.path) === 0)
    return { whileLookedAt, gone, control }
  },

  async 'store into a read-only mapping'() {
    const mapping = Mapping.ofPath(fileOf('read-only.log'), BYTES)
    console.log(JSON.stringify({ reads: holds(mapping.region.bytes, 0) }))
    mapping.region.bytes[0] = 1
    return 'still there'
  },

  /** Holds the lock until it is killed, or lets go of it when it is told to. */
  async lock() {
    const fd = openSync(join(folder, 'lock'), 'a+')
    console.log(JSON.stringify({ locked: tryLock(fd, 'exclusive') }))
    await new Promise<void>(resolve => process.stdin.once('data', () => resolve()))
    closeSync(fd)
    console.log(JSON.stringify({ closed: true }))
    await sleep(60_000)
    return 'nobody killed it'
  },
}

const play = scenarios[scenario]
if (play === undefined) throw new Error(`no scenario ${scenario}`)
console.log(JSON.stringify(await play()))
