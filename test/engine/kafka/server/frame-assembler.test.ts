/** Requests come out whole and in order however the network cuts them; lengths that cannot be are refused at once. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  FrameAssembler,
  REQUEST_BYTES_MIN,
  type ReceivedRequest,
} from '../../../../engine/kafka/server/frame-assembler.ts'

const BYTES_MAX = 1_000

function frame(body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + body.length)
  bytes.writeInt32BE(body.length)
  bytes.set(body, 4)
  return bytes
}

const bodies = fc.array(fc.uint8Array({ minLength: REQUEST_BYTES_MIN, maxLength: 60 }), { maxLength: 8 })

test('whatever the network makes of them', () => {
  fc.assert(
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(frame))
      const assembler = new FrameAssembler(BYTES_MAX)
      const received: Uint8Array[] = []
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const bytes = cuts[cut % cuts.length] as number
        for (const request of assembler.push(stream.subarray(at, at + bytes))) {
          received.push(Uint8Array.from(request.whole()))
          expect(request.bytes).toBe(request.chunks.reduce((sum, chunk) => sum + chunk.length, 0))
        }
        at += bytes
      }
      expect(received).toEqual(sent)
      expect(assembler.pendingBytes).toBe(0)
    }),
  )
})

test('what every request begins with is known, also when it came in pieces', () => {
  const body = Buffer.alloc(10)
  body.writeInt16BE(18, 0)
  body.writeInt16BE(-3, 2)
  body.writeInt32BE(-77, 4)
  const assembler = new FrameAssembler(BYTES_MAX)
  const requests = [...frame(body)].flatMap(byte => assembler.push(Uint8Array.of(byte)))
  expect(requests).toHaveLength(1)
  expect(requests[0]).toMatchObject({ apiKey: 18, apiVersion: -3, correlationId: -77, bytes: 10 })
})

test('a request that came in one piece is not copied', () => {
  const bytes = frame(Buffer.alloc(20, 1))
  const [request] = new FrameAssembler(BYTES_MAX).push(bytes)
  expect(request?.whole().buffer).toBe(bytes.buffer)
})

describe('lengths', () => {
  test.each([-1, -2_147_483_648, 0, REQUEST_BYTES_MIN - 1, BYTES_MAX + 1, 2_147_483_647])('%i is refused', length => {
    const field = Buffer.alloc(4)
    field.writeInt32BE(length)
    const assembler = new FrameAssembler(BYTES_MAX)
    expect(() => assembler.push(field)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', details: expect.objectContaining({ bytes: length }) }),
    )
  })

  test('only what came is held', () => {
    const field = Buffer.alloc(4)
    field.writeInt32BE(BYTES_MAX)
    const assembler = new FrameAssembler(BYTES_MAX)
    expect(assembler.push(Buffer.concat([field, Buffer.alloc(5)]))).toEqual([])
    expect(assembler.pendingBytes).toBe(5)
  })
})

describe('memory of chunks', () => {
  /** As a socket gives them: each in memory of its own. */
  const owned = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)
  const request = (bytes: number): Buffer => frame(Buffer.alloc(bytes, 7))

  test('goes with the last request in it that is released', () => {
    const assembler = new FrameAssembler(1_000)
    const all = Buffer.concat([request(100), request(200), request(300)])
    const [first, second] = [owned(all.subarray(0, 250)), owned(all.subarray(250))] as [Uint8Array, Uint8Array]
    const [a] = assembler.push(first) as [ReceivedRequest]
    const [b, c] = assembler.push(second) as [ReceivedRequest, ReceivedRequest]
    a.release()
    expect(first.length).toBe(250) // the second request has a part of it
    c.release()
    expect([first.length, second.length]).toEqual([250, 362])
    b.release()
    expect([first.length, second.length]).toEqual([0, 0])
  })

  test('stays while a request is not complete', () => {
    const assembler = new FrameAssembler(1_000)
    const whole = Buffer.concat([request(100), request(200)])
    const chunk = owned(whole.subarray(0, 150))
    const [first] = assembler.push(chunk) as [ReceivedRequest]
    first.release()
    expect(chunk.length).toBe(150)
    const rest = owned(whole.subarray(150))
    const [second] = assembler.push(rest) as [ReceivedRequest]
    expect([...second.whole()]).toEqual([...new Array(200).fill(7)])
    second.release()
    expect([chunk.length, rest.length]).toEqual([0, 0])
  })

  test('that is shared with others is left alone', () => {
    const assembler = new FrameAssembler(1_000)
    const pool = new Uint8Array(1_000)
    pool.set(request(100))
    const [found] = assembler.push(pool.subarray(0, 104)) as [ReceivedRequest]
    found.release()
    expect(pool.length).toBe(1_000)
  })
})
