/**
 * A producer's or a writer's end of an append channel in a thread of its own. Requests carry their number, and words made
 * from it; the writer answers each once, at once or some at a time and out of order, as partitions that flush would. The
 * producer keeps no more requests under way than the completion ring has room for, so the writer must never find it full.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from '../../../engine/base/random.ts'
import { CHANNEL_CAPACITY, COMPLETION, ProducerEnd, REQUEST, WriterEnd } from '../../../engine/memory/append-channel.ts'
import { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { dump, isMessage, putMessage } from './message.ts'
import { Dawdler, Patience } from './patience.ts'

export interface ChannelThread {
  readonly role: 'producer' | 'writer'
  readonly channel: SharedArrayBuffer
  /** Two wake cells: word 0 is the writer's, word 16 the producer's. */
  readonly cells: SharedArrayBuffer
  readonly requests: number
  readonly parks: boolean
  /** Writer: answers may overtake each other. */
  readonly shuffles: boolean
  readonly dawdleEvery: number
  readonly seed: number
}

export interface ChannelReport {
  readonly fault?: string
  /** Requests taken, or completions. */
  readonly messages: number
  readonly idle: number
  readonly lostWakeUps: number
  readonly overtaken: number
}

const data = workerData as ChannelThread
const cells = new Int32Array(data.cells)
const mine = new WakeCell(cells, data.role === 'writer' ? 0 : 16)
const theirs = new WakeCell(cells, data.role === 'writer' ? 16 : 0)
const patience = new Patience(mine, data.parks)
const dawdler = new Dawdler(data.seed, data.dawdleEvery)
const random = new Random(data.seed)

function produce(): ChannelReport {
  const { requests, completions } = new ProducerEnd(data.channel)
  const underWay = new Set<number>()
  const hasCompletion = (): boolean => completions.peek() !== -1
  let pushed = 0
  let completed = 0
  let overtaken = 0
  while (completed < data.requests) {
    while (pushed < data.requests && underWay.size < CHANNEL_CAPACITY) {
      const at = requests.reserve()
      if (at === -1) break
      putMessage(requests.words, at, REQUEST.words, pushed)
      requests.publish()
      underWay.add(pushed++)
      theirs.wake()
      dawdler.maybe()
    }
    if (underWay.size > 0) patience.until(hasCompletion)
    for (let at = completions.peek(); at !== -1; at = completions.peek()) {
      const id = completions.words[at + COMPLETION.id] as number
      if (!isMessage(completions.words, at, COMPLETION.words, id)) {
        return report(completed, overtaken, `torn completion ${dump(completions.words, at, COMPLETION.words)}`)
      }
      if (id !== completed) overtaken += 1
      if (!underWay.delete(id)) return report(completed, overtaken, `completion of ${id}, which is not under way`)
      completed += 1
      completions.release()
    }
  }
  return report(completed, overtaken, hasCompletion() ? 'a completion too many' : undefined)
}

function write(): ChannelReport {
  const { requests, completions } = new WriterEnd(data.channel)
  const hasRequest = (): boolean => requests.peek() !== -1
  const held: number[] = []
  let sequence = 0
  const answer = (id: number): boolean => {
    const at = completions.reserve()
    if (at === -1) return false
    putMessage(completions.words, at, COMPLETION.words, id)
    completions.publish()
    theirs.wake()
    return true
  }
  for (; sequence < data.requests; sequence++) {
    if (held.length > 0 && !hasRequest()) {
      // Nothing more comes before these are answered, when the producer has all that it may have under way.
      for (const id of held) if (!answer(id)) return report(sequence, 0, 'no room for a completion')
      held.length = 0
    }
    patience.until(hasRequest)
    const at = requests.peek()
    if (!isMessage(requests.words, at, REQUEST.words, sequence)) {
      return report(sequence, 0, `request ${sequence} is ${dump(requests.words, at, REQUEST.words)}`)
    }
    requests.release()
    dawdler.maybe()
    if (data.shuffles && random.chance(0.5)) held.splice(random.below(held.length + 1), 0, sequence)
    else if (!answer(sequence)) return report(sequence, 0, 'no room for a completion')
  }
  for (const id of held) if (!answer(id)) return report(sequence, 0, 'no room for a completion')
  return report(sequence, 0, hasRequest() ? 'a request too many' : undefined)
}

function report(messages: number, overtaken: number, fault?: string): ChannelReport {
  const { idle, lostWakeUps } = patience
  return { messages, overtaken, idle, lostWakeUps, ...(fault === undefined ? {} : { fault }) }
}

parentPort?.postMessage(data.role === 'producer' ? produce() : write())
