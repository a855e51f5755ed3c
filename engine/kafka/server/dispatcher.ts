/**
 * From a request as it came to its answer. Two kinds go ways of their own: ApiVersions, whose answer has to be understood by clients of
 * any version (KIP-511), and Produce, whose bytes are placed in slabs before they are read. In the broker's thread.
 */
import { MillraceError } from '../../base/errors.ts'
import type { PlacedRequest } from '../../broker/ingest.ts'
import { type RequestHeader, readRequest, writeResponse } from '../codec/frames.ts'
import { KAFKA_ERROR } from '../error-codes.ts'
import { handleProduce } from '../handlers/produce.ts'
import { apiVersions, produce, SERVED } from '../served.ts'
import type { Call, KafkaService } from '../service.ts'
import type { Answer, Connection } from './connection.ts'
import { errorAnswer } from './error-answer.ts'
import type { ReceivedRequest } from './frame-assembler.ts'
import type { Endpoint } from './listener.ts'

const API_KEYS = [...SERVED.values()].map(({ api, first, last }) => ({
  apiKey: api.key,
  minVersion: first,
  maxVersion: last,
}))
/** Waits for slabs before a producer is told to try again. */
const ROOM_MS = 30_000

/** True for requests of which several may be under way. */
export function isPipelined({ apiKey }: ReceivedRequest): boolean {
  return apiKey === produce.key
}

export class Dispatcher {
  readonly #service: KafkaService
  /** Requests that wait for slabs go in their order, over all connections. */
  #placing: Promise<unknown> | undefined

  constructor(service: KafkaService) {
    this.#service = service
  }

  /** @throws INVALID_REQUEST, UNSUPPORTED_VERSION: the connection ends */
  handle(request: ReceivedRequest, connection: Connection, endpoint: Endpoint): Answer | Promise<Answer> {
    const { apiKey, apiVersion } = request
    if (apiKey === apiVersions.key) return this.#apiVersions(request)
    const served = SERVED.get(apiKey)
    if (served === undefined || apiVersion < served.first || apiVersion > served.last) {
      throw new MillraceError('UNSUPPORTED_VERSION', { api: served?.api.name ?? apiKey, version: apiVersion })
    }
    if (apiKey === produce.key) return this.#produce(request, connection, endpoint)
    const { header, body } = readRequest(served.api, request.whole())
    const answered = served.handle(this.#service, body, callOf(header, connection, endpoint))
    const write = (answer: Awaited<typeof answered>): Answer =>
      answer && writeResponse(served.api, apiVersion, header.correlationId, answer)
    return answered instanceof Promise ? answered.then(write) : write(answered)
  }

  /** Answers with an error for everything that the request names, and carries nothing out. */
  refuse(request: ReceivedRequest, errorCode: number): Answer {
    const api = SERVED.get(request.apiKey)?.api
    if (api === undefined) throw new MillraceError('UNSUPPORTED_VERSION', { api: request.apiKey })
    const { header, body } = readRequest(api, request.whole())
    if (api.key === produce.key && (body as { acks?: number }).acks === 0) return undefined
    return writeResponse(api, header.apiVersion, header.correlationId, errorAnswer(api, body, errorCode) as never)
  }

  #apiVersions(request: ReceivedRequest): Answer {
    const { apiVersion, correlationId } = request
    const [first, last] = apiVersions.versions
    if (apiVersion < first || apiVersion > last) {
      const answer = { errorCode: KAFKA_ERROR.UNSUPPORTED_VERSION, apiKeys: API_KEYS }
      return writeResponse(apiVersions, 0, correlationId, answer)
    }
    readRequest(apiVersions, request.whole())
    return writeResponse(apiVersions, apiVersion, correlationId, { errorCode: KAFKA_ERROR.NONE, apiKeys: API_KEYS })
  }

  #produce(request: ReceivedRequest, connection: Connection, endpoint: Endpoint): Answer | Promise<Answer> {
    const { ingest, produceBytesMax } = this.#service
    if (request.bytes > produceBytesMax) {
      throw new MillraceError('RECORD_TOO_LARGE', { bytes: request.bytes, maxBytes: produceBytesMax })
    }
    if (this.#placing === undefined && ingest !== undefined) {
      const placed = ingest.place(request)
      if (placed !== undefined) return this.#append(placed, connection, endpoint)
    }
    const turn = (this.#placing ?? Promise.resolve()).then(() => this.#placeLater(request, connection))
    const last = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#placing === last) this.#placing = undefined
      })
    this.#placing = last
    return turn.then(placed => this.#append(placed, connection, endpoint))
  }

  async #placeLater(request: ReceivedRequest, connection: Connection) {
    const ingest = await this.#service.attached()
    const untilMs = performance.now() + ROOM_MS
    for (;;) {
      const placed = ingest.place(request)
      if (placed !== undefined) return placed
      if (connection.signal.aborted) throw new MillraceError('CLOSED', { object: 'connection' })
      if (performance.now() > untilMs) throw new MillraceError('TIMED_OUT', { waitedFor: 'room in the slabs' })
      await ingest.room(1_000)
    }
  }

  #append(placed: PlacedRequest, connection: Connection, endpoint: Endpoint): Answer | Promise<Answer> {
    try {
      const { header, body } = readRequest(produce, placed.bytes)
      const answered = handleProduce(this.#service, body, callOf(header, connection, endpoint), placed)
      if (body.acks !== 0) {
        return answered.then(answer => writeResponse(produce, header.apiVersion, header.correlationId, answer))
      }
      // Who wants no acknowledgement is told of an error by the end of the connection, as by Kafka.
      void answered.then(({ responses }) => {
        const failed = responses.flatMap(topic => topic.partitionResponses).find(({ errorCode }) => errorCode !== 0)
        if (failed !== undefined) connection.end(new MillraceError('INVALID_RECORD', { kafkaCode: failed.errorCode }))
      })
      return undefined
    } finally {
      placed.release()
    }
  }
}

function callOf(header: RequestHeader, connection: Connection, endpoint: Endpoint): Call {
  const { clientHost, signal } = connection
  return { apiVersion: header.apiVersion, clientId: header.clientId ?? '', clientHost, endpoint, signal }
}
