/** Mail to a loop that never sees an event: nothing lost or reordered, answers under their numbers, errors as data. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { afterAll, expect, test } from 'vitest'
import { MillraceError } from '../../engine/base/errors.ts'
import type { Mail, WorkerEvent } from '../../engine/log/mail.ts'
import { createEngineMemory, EngineMemory } from '../../engine/memory/engine-memory.ts'
import { LATER, Mailbox } from '../../workers/mailbox.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-mail-'))
const memory = new EngineMemory(createEngineMemory(folder))
afterAll(() => {
  memory.release()
  rmSync(folder, { recursive: true, force: true })
})

let threads = 0

function start(): { mailbox: Mailbox; send: (mail: Mail) => void; answers: () => Promise<WorkerEvent[]> } {
  const thread = threads++
  const { port1, port2 } = new MessageChannel()
  const mailbox = new Mailbox(port2, memory, thread)
  const received: WorkerEvent[] = []
  port1.on('message', (event: WorkerEvent) => received.push(event))
  port1.unref()
  return {
    mailbox,
    send: mail => {
      port1.postMessage(mail)
      memory.postedTo(thread)
    },
    answers: async () => {
      for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
      return received
    },
  }
}

const flush = (slot: number, reply?: number): Mail =>
  ({ kind: 'detach', slot, cut: false, ...(reply === undefined ? {} : { reply }) }) as Mail

test('is taken in order, all of it at once', async () => {
  const { mailbox, send } = start()
  expect([mailbox.waiting, mailbox.read(() => undefined)]).toEqual([false, false])
  for (let slot = 0; slot < 100; slot++) send(flush(slot))
  expect(mailbox.waiting).toBe(true)
  const slots: number[] = []
  expect(mailbox.read(mail => slots.push((mail as { slot: number }).slot))).toBe(true)
  expect(slots).toEqual(Array.from({ length: 100 }, (_, slot) => slot))
  expect([mailbox.waiting, mailbox.read(() => undefined)]).toEqual([false, false])
})

test('what a handler returns is the answer, unless it answers later or nobody asked', async () => {
  const { mailbox, send, answers } = start()
  for (const [slot, reply] of [
    [1, 11],
    [2, 12],
    [3, undefined],
    [4, 14],
  ] as const)
    send(flush(slot, reply))
  mailbox.read(mail => ((mail as { slot: number }).slot === 2 ? LATER : (mail as { slot: number }).slot * 10))
  mailbox.answer(12, 'later')
  expect(await answers()).toEqual([
    { kind: 'answer', reply: 11, value: 10 },
    { kind: 'answer', reply: 14, value: 40 },
    { kind: 'answer', reply: 12, value: 'later' },
  ])
})

test('what a handler throws is the answer as data, and the rest of the mail is read', async () => {
  const { mailbox, send, answers } = start()
  send(flush(1, 1))
  send(flush(2, 2))
  send(flush(3, 3))
  mailbox.read(mail => {
    const { slot } = mail as { slot: number }
    if (slot === 1) throw new MillraceError('OFFSET_OUT_OF_RANGE', { slot })
    if (slot === 2) throw new TypeError('a bug')
    return slot
  })
  expect(await answers()).toEqual([
    { kind: 'answer', reply: 1, error: { code: 'OFFSET_OUT_OF_RANGE', details: { slot: 1 } } },
    {
      kind: 'answer',
      reply: 2,
      error: { code: 'PARTITION_FAILED', details: {}, cause: expect.stringContaining('a bug') },
    },
    { kind: 'answer', reply: 3, value: 3 },
  ])
})

test('an error that nobody asked about ends the loop, as a bug does', () => {
  const { mailbox, send } = start()
  send(flush(1))
  expect(() =>
    mailbox.read(() => {
      throw new TypeError('a bug')
    }),
  ).toThrow('a bug')
})
