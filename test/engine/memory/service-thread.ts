/** A writer that gives orders, or a service that answers each with its own numbers, in a thread of its own. */
import { parentPort, workerData } from 'node:worker_threads'
import { type ServiceMessage, serviceEnd, writerServiceEnd } from '../../../engine/memory/service-ring.ts'
import { WakeCell } from '../../../engine/memory/wake-cell.ts'
import { Dawdler, Patience } from './patience.ts'
import { serviceMessage } from './service-message.ts'

export interface ServiceThread {
  readonly role: 'writer' | 'service'
  readonly ring: SharedArrayBuffer
  /** Two wake cells: word 0 is the service's, word 16 the writer's. */
  readonly cells: SharedArrayBuffer
  readonly messages: number
  readonly dawdleEvery: number
  readonly seed: number
}

export interface ServiceReport {
  readonly fault?: string
  readonly messages: number
  readonly lostWakeUps: number
  /** Pushes that found their ring full. */
  readonly full: number
}

const data = workerData as ServiceThread
const cells = new Int32Array(data.cells)
const mine = new WakeCell(cells, data.role === 'service' ? 0 : 16)
const theirs = new WakeCell(cells, data.role === 'service' ? 16 : 0)
const patience = new Patience(mine, true)
const dawdler = new Dawdler(data.seed, data.dawdleEvery)

const isSame = (message: ServiceMessage, expected: ServiceMessage): boolean =>
  message.kind === expected.kind &&
  message.slot === expected.slot &&
  message.slotGeneration === expected.slotGeneration &&
  message.fd === expected.fd &&
  message.status === expected.status &&
  message.a === expected.a &&
  message.b === expected.b &&
  message.c === expected.c

function write(): ServiceReport {
  const { orders, replies } = writerServiceEnd(data.ring)
  let ordered = 0
  let answered = 0
  let full = 0
  while (answered < data.messages) {
    while (ordered < data.messages && orders.push(serviceMessage(ordered))) {
      ordered += 1
      theirs.wake()
      dawdler.maybe()
    }
    if (ordered < data.messages) full += 1
    patience.until(() => replies.waiting)
    for (let reply = replies.shift(); reply !== undefined; reply = replies.shift()) {
      const expected = { ...serviceMessage(answered), status: 1 }
      if (!isSame(reply, expected)) return report(answered, full, `reply ${answered} is ${JSON.stringify(reply)}`)
      answered += 1
      theirs.wake()
    }
  }
  return report(answered, full, replies.waiting ? 'a reply too many' : undefined)
}

function serve(): ServiceReport {
  const { orders, replies } = serviceEnd(data.ring)
  let full = 0
  for (let served = 0; served < data.messages; served++) {
    patience.until(() => orders.waiting)
    const order = orders.shift() as ServiceMessage
    if (!isSame(order, serviceMessage(served)))
      return report(served, full, `order ${served} is ${JSON.stringify(order)}`)
    const reply = { ...order, status: 1 }
    patience.until(() => {
      if (replies.push(reply)) return true
      full += 1
      return false
    })
    theirs.wake()
    dawdler.maybe()
  }
  return report(data.messages, full, orders.waiting ? 'an order too many' : undefined)
}

function report(messages: number, full: number, fault?: string): ServiceReport {
  return { messages, full, lostWakeUps: patience.lostWakeUps, ...(fault === undefined ? {} : { fault }) }
}

parentPort?.postMessage(data.role === 'writer' ? write() : serve())
