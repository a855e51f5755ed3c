/** Every message in every version: what is written is read back, and what is damaged is refused and nothing worse. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../../../engine/base/errors.ts'
import { Random, testSeed } from '../../../../engine/base/random.ts'
import { ByteReader } from '../../../../engine/kafka/codec/byte-reader.ts'
import { ByteWriter } from '../../../../engine/kafka/codec/byte-writer.ts'
import { codecOf } from '../../../../engine/kafka/codec/compile.ts'
import {
  type Api,
  readRequest,
  readResponse,
  writeRequest,
  writeResponse,
} from '../../../../engine/kafka/codec/frames.ts'
import type { Message } from '../../../../engine/kafka/codec/notation.ts'
import { APIS } from '../../../../engine/kafka/messages/index.ts'
import { arbitraryMessage } from './arbitrary.ts'

const RUNS = 8
const MUTATIONS = Number(process.env['MILLRACE_FRAMES'] ?? 250_000)

const apis = [...APIS.values()].map(api => [api.name, api] as const)

function versionsOf({ versions: [first, last] }: Api): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

function write(message: Message, version: number, value: Record<string, unknown>): Buffer {
  const to = new ByteWriter(16)
  codecOf(message, version).write(to, value as never)
  return Buffer.concat(to.finish())
}

describe('what is written is read back', () => {
  test.each(apis)('%s', (_, api) => {
    for (const version of versionsOf(api)) {
      for (const message of [api.request, api.response]) {
        fc.assert(
          fc.property(arbitraryMessage(message, version), value => {
            const bytes = write(message, version, value)
            const from = new ByteReader(bytes)
            expect(codecOf(message, version).read(from)).toEqual(value)
            expect(from.left).toBe(0)
          }),
          { numRuns: RUNS },
        )
      }
    }
  })

  test('in whole requests and answers', () => {
    for (const api of APIS.values()) {
      for (const version of versionsOf(api)) {
        const [body] = fc.sample(arbitraryMessage(api.request, version), 1) as [Record<string, unknown>]
        const request = Buffer.concat(writeRequest(api, version, 77, 'someone', body as never))
        expect(request.readInt32BE(0)).toBe(request.length - 4)
        const header = { apiKey: api.key, apiVersion: version, correlationId: 77, clientId: 'someone' }
        expect(readRequest(api, request.subarray(4))).toEqual({ header, body })
        const [answer] = fc.sample(arbitraryMessage(api.response, version), 1) as [Record<string, unknown>]
        const response = Buffer.concat(writeResponse(api, version, 78, answer as never))
        expect(response.readInt32BE(0)).toBe(response.length - 4)
        expect(readResponse(api, version, response.subarray(4))).toEqual({ correlationId: 78, body: answer })
      }
    }
  })
})

describe('damage', () => {
  /** Reads, and demands that nothing but our own error comes of bytes that are wrong. */
  function attempt(message: Message, version: number, bytes: Uint8Array): boolean {
    try {
      codecOf(message, version).read(new ByteReader(bytes))
      return true
    } catch (error) {
      if (!isMillraceError(error, 'INVALID_REQUEST')) throw error
      return false
    }
  }

  test('a message that ends early is refused, wherever it ends', () => {
    for (const api of APIS.values()) {
      for (const version of versionsOf(api)) {
        const [value] = fc.sample(arbitraryMessage(api.request, version), 1) as [Record<string, unknown>]
        const bytes = write(api.request, version, value)
        for (let end = 0; end < bytes.length; end++) {
          expect(attempt(api.request, version, bytes.subarray(0, end)), `${api.name} ${version} ${end}`).toBe(false)
        }
      }
    }
  })

  test('bytes are changed, added and taken away', { timeout: 600_000 }, () => {
    const random = new Random(testSeed())
    const all = [...APIS.values()]
    const samples = new Map<string, Buffer>()
    let read = 0
    for (let i = 0; i < MUTATIONS; i++) {
      const api = all[random.below(all.length)] as Api
      const versions = versionsOf(api)
      const version = versions[random.below(versions.length)] as number
      const key = `${api.key} ${version} ${random.below(3)}`
      let bytes = samples.get(key)
      if (bytes === undefined) {
        bytes = write(api.request, version, fc.sample(arbitraryMessage(api.request, version), 1)[0] as never)
        samples.set(key, bytes)
      }
      const mutated = Buffer.from(bytes)
      for (let n = random.below(4); n >= 0 && mutated.length > 0; n--) {
        mutated[random.below(mutated.length)] = random.below(2) === 0 ? 0xff : random.below(256)
      }
      if (attempt(api.request, version, mutated.subarray(0, mutated.length - random.below(2)))) read += 1
    }
    expect(read).toBeGreaterThan(0)
    expect(read).toBeLessThan(MUTATIONS)
  })

  test('a number of items that cannot be there is refused before room is made for them', () => {
    const metadata = APIS.get(3) as Api
    const bytes = Buffer.alloc(8)
    bytes.writeInt32BE(0x7fff_ffff)
    const before = process.memoryUsage().heapUsed
    expect(attempt(metadata.request, 0, bytes)).toBe(false)
    const compact = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0])
    expect(attempt(metadata.request, 12, compact)).toBe(false)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(10_000_000)
  })

  test.each([
    ['a length below -1', 0, [0xff, 0xff, 0xff, 0xfe]],
    ['null where the version has none', 0, [0xff, 0xff, 0xff, 0xff]],
    ['a number of more than 32 bits', 9, [0xff, 0xff, 0xff, 0xff, 0x1f]],
    ['a number without an end', 9, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ])('%s', (_, version, bytes) => {
    expect(attempt((APIS.get(3) as Api).request, version, Uint8Array.from(bytes))).toBe(false)
  })
})

describe('tagged fields', () => {
  const api = APIS.get(18) as Api // ApiVersions 3: two compact strings, then tagged fields

  test('unknown ones are skipped', () => {
    const frame = Buffer.from([2, 0x61, 2, 0x62, 2, 9, 3, 1, 2, 3, 100, 0])
    const from = new ByteReader(frame)
    const body = codecOf(api.request, 3).read(from)
    expect(body).toMatchObject({ clientSoftwareName: 'a', clientSoftwareVersion: 'b' })
    expect(from.left).toBe(0)
  })

  test('one that is longer than what is left is refused', () => {
    const frame = Buffer.from([2, 0x61, 2, 0x62, 1, 9, 30, 1])
    expect(() => codecOf(api.request, 3).read(new ByteReader(frame))).toThrow('INVALID_REQUEST')
  })
})

describe('versions', () => {
  test('a value that the version cannot carry is not left out in silence', () => {
    const api = APIS.get(0) as Api
    const value = { transactionalId: 'a', acks: 1, timeoutMs: 1, topicData: [] }
    expect(() => write(api.request, 2, value)).toThrow('UNSUPPORTED_VERSION')
    expect(write(api.request, 3, value).length).toBeGreaterThan(0)
  })

  test('one that may be ignored is', () => {
    const api = APIS.get(1) as Api
    const request = { maxWaitMs: 1, minBytes: 2, sessionId: 5, topics: [], rackId: 'r' }
    expect(codecOf(api.request, 4).read(new ByteReader(write(api.request, 4, request)))).toMatchObject({
      sessionId: 0,
      sessionEpoch: -1,
      rackId: '',
    })
  })
})
