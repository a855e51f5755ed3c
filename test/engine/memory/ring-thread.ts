/** One end of a ring in a thread of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { RingReader, RingWriter } from '../../../engine/memory/ring.ts'
import { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { dump, isMessage, putMessage } from './message.ts'
import { Dawdler, Patience } from './patience.ts'

export interface RingThread {
  readonly role: 'writer' | 'reader'
  readonly ring: SharedArrayBuffer
  /** Two wake cells: word 0 is the reader's, word 16 the writer's. */
  readonly cells: SharedArrayBuffer
  readonly capacity: number
  readonly entryWords: number
  readonly messages: number
  readonly parks: boolean
  /** Every so many messages on average, this side dawdles. 0: never. */
  readonly dawdleEvery: number
  readonly seed: number
}

export interface RingReport {
  readonly messages: number
  /** What was wrong with the first bad message. */
  readonly fault?: string
  readonly idle: number
  readonly lostWakeUps: number
}

const data = workerData as RingThread
const cells = new Int32Array(data.cells)
const mine = new WakeCell(cells, data.role === 'reader' ? 0 : 16)
const theirs = new WakeCell(cells, data.role === 'reader' ? 16 : 0)
const patience = new Patience(mine, data.parks)
const dawdler = new Dawdler(data.seed, data.dawdleEvery)

function write(): RingReport {
  const ring = new RingWriter(new Int32Array(data.ring), data.capacity, data.entryWords)
  const hasRoom = (): boolean => ring.reserve() !== -1
  for (let sequence = 0; sequence < data.messages; sequence++) {
    patience.until(hasRoom)
    putMessage(ring.words, ring.reserve(), data.entryWords, sequence)
    ring.publish()
    theirs.wake()
    dawdler.maybe()
  }
  return report(data.messages)
}

function read(): RingReport {
  const ring = new RingReader(new Int32Array(data.ring), data.capacity, data.entryWords)
  const hasMessage = (): boolean => ring.peek() !== -1
  for (let sequence = 0; sequence < data.messages; sequence++) {
    patience.until(hasMessage)
    const at = ring.peek()
    if (!isMessage(ring.words, at, data.entryWords, sequence)) {
      return report(sequence, `message ${sequence.toString(16)} is ${dump(ring.words, at, data.entryWords)}`)
    }
    ring.release()
    theirs.wake()
    dawdler.maybe()
  }
  return report(data.messages, hasMessage() ? 'a message too many' : undefined)
}

function report(messages: number, fault?: string): RingReport {
  const { idle, lostWakeUps } = patience
  return { messages, idle, lostWakeUps, ...(fault === undefined ? {} : { fault }) }
}

parentPort?.postMessage(data.role === 'writer' ? write() : read())
