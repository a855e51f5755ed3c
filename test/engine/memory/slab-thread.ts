/**
 * A producer that fills slabs, or a writer that looks at them and frees them in any order, in a thread of its own. All words
 * of a run carry the id of its request, so a slab that two requests had at once is seen by the writer.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from '../../../engine/base/random.ts'
import { RingReader, RingWriter } from '../../../engine/memory/ring.ts'
import { SlabArena, type SlabArenaHandle } from '../../../engine/memory/slab-arena.ts'
import { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { Patience } from './patience.ts'

export interface SlabThread {
  readonly role: 'producer' | 'writer'
  readonly arena: SlabArenaHandle
  /** Of entries of `[id, first slab, slab count, unused]`. */
  readonly ring: SharedArrayBuffer
  readonly ringCapacity: number
  /** Two wake cells: word 0 is the writer's, word 16 the producer's. */
  readonly cells: SharedArrayBuffer
  readonly requests: number
  readonly firstId: number
  readonly seed: number
}

export interface SlabReport {
  readonly fault?: string
  readonly requests: number
  readonly lostWakeUps: number
  /** Producer: how often it had to wait for slabs. Writer: largest number of runs held. */
  readonly waits: number
}

const ENTRY_WORDS = 4

const data = workerData as SlabThread
const cells = new Int32Array(data.cells)
const random = new Random(data.seed)
const patience = new Patience(new WakeCell(cells, data.role === 'writer' ? 0 : 16), true)
const theirs = new WakeCell(cells, data.role === 'writer' ? 16 : 0)
const arena = new SlabArena(data.arena)
const { bytes } = arena.region
const memory = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
const slabWords = arena.slabBytes / 4

/** Ids run through 2^32 and leave 0 out. */
function nextId(id: number): number {
  const next = (id + 1) | 0
  return next === 0 ? 1 : next
}

function produce(): SlabReport {
  const ring = new RingWriter(new Int32Array(data.ring), data.ringCapacity, ENTRY_WORDS)
  let id = data.firstId | 0
  let waits = 0
  for (let request = 0; request < data.requests; request++, id = nextId(id)) {
    const count = random.chance(0.7) ? 1 : random.chance(0.98) ? random.between(2, 5) : arena.slabCount
    let first = arena.take(count, id)
    if (first === -1) {
      waits += 1
      patience.until(() => {
        first = arena.take(count, id)
        return first !== -1
      })
    }
    memory.fill(id, first * slabWords, (first + count) * slabWords)
    patience.until(() => ring.reserve() !== -1)
    const at = ring.reserve()
    ring.words[at] = id
    ring.words[at + 1] = first
    ring.words[at + 2] = count
    ring.publish()
    theirs.wake()
  }
  return { requests: data.requests, waits, lostWakeUps: patience.lostWakeUps }
}

interface Run {
  readonly id: number
  readonly first: number
  readonly count: number
}

/** The first word of a run that is not its id, undefined when all are. */
function foreignWord(run: Run): number | undefined {
  return memory.subarray(run.first * slabWords, (run.first + run.count) * slabWords).find(word => word !== run.id)
}

function write(): SlabReport {
  const ring = new RingReader(new Int32Array(data.ring), data.ringCapacity, ENTRY_WORDS)
  const hasRequest = (): boolean => ring.peek() !== -1
  const held: Run[] = []
  let heldMax = 0
  const freeOne = (): string | undefined => {
    const [run] = held.splice(random.below(held.length), 1) as [Run]
    const foreign = foreignWord(run)
    if (foreign !== undefined) return `the slabs of ${run.id} hold ${foreign}`
    arena.free(run.first, run.count)
    theirs.wake()
    return undefined
  }
  const report = (requests: number, fault?: string): SlabReport => {
    const counts = { requests, waits: heldMax, lostWakeUps: patience.lostWakeUps }
    return fault === undefined ? counts : { ...counts, fault }
  }
  for (let request = 0; request < data.requests; request++) {
    // With nothing to read, what is held is freed: the producer may be waiting for it.
    while (held.length > 0 && (!hasRequest() || held.length > 8 || random.chance(0.3))) {
      const fault = freeOne()
      if (fault !== undefined) return report(request, fault)
    }
    patience.until(hasRequest)
    const at = ring.peek()
    const [id = 0, first = 0, count = 0] = ring.words.subarray(at, at + 3)
    ring.release()
    theirs.wake()
    const run = { id, first, count }
    const foreign = foreignWord(run)
    if (foreign !== undefined) return report(request, `the slabs of ${id} hold ${foreign}`)
    held.push(run)
    heldMax = Math.max(heldMax, held.length)
  }
  while (held.length > 0) {
    const fault = freeOne()
    if (fault !== undefined) return report(data.requests, fault)
  }
  return report(data.requests)
}

parentPort?.postMessage(data.role === 'producer' ? produce() : write())
