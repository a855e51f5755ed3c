/**
 * Whole requests and answers: header, then body, with the length in front on the way out. Pure.
 *
 *     request: key i16 │ version i16 │ correlation id i32 │ client id, nullable string of the old encoding │ (tagged fields) │ body
 *     answer:  correlation id i32 │ (tagged fields) │ body
 *
 * Tagged fields are there where the body's version is flexible; the answer to ApiVersions never has them, because its client does
 * not know yet what the server speaks.
 */
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import { codecOf } from './compile.ts'
import { includes, type Message, type MessageOf, type WrittenMessage } from './notation.ts'

/** A request and its answer. */
export interface Api<Q extends Message = Message, A extends Message = Message> {
  readonly key: number
  readonly name: string
  /** Versions that are written down here. */
  readonly versions: readonly [first: number, last: number]
  readonly request: Q
  readonly response: A
}

export const API_VERSIONS_KEY = 18
const LENGTH_BYTES = 4

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
}

function skipTagged(from: ByteReader): void {
  const count = from.uvarint()
  for (let i = 0; i < count; i++) {
    from.uvarint()
    from.view(from.uvarint())
  }
}

/** Reads a request's header; the body follows where the reader stands then. @throws INVALID_REQUEST */
export function readHeader(from: ByteReader, request: Message): RequestHeader {
  const apiKey = from.int16()
  const apiVersion = from.int16()
  const correlationId = from.int32()
  const length = from.int16()
  const clientId = length < 0 ? null : from.text(length)
  if (includes(request.flexible, apiVersion)) skipTagged(from)
  return { apiKey, apiVersion, correlationId, clientId }
}

/**
 * Reads a request.
 * @param frame without its length
 * @throws INVALID_REQUEST, also for bytes that are left over
 */
export function readRequest<Q extends Message>(
  api: Api<Q>,
  frame: Uint8Array,
): { readonly header: RequestHeader; readonly body: MessageOf<Q> } {
  const from = new ByteReader(frame)
  const header = readHeader(from, api.request)
  const body = codecOf(api.request, header.apiVersion).read(from)
  if (from.left > 0) from.fail('bytes left over')
  return { header, body }
}

/** Writes an answer, its length included. */
export function writeResponse<A extends Message>(
  api: Api<Message, A>,
  version: number,
  correlationId: number,
  body: WrittenMessage<A>,
): Uint8Array[] {
  const to = new ByteWriter()
  to.int32(0)
  to.int32(correlationId)
  if (includes(api.response.flexible, version) && api.key !== API_VERSIONS_KEY) to.uvarint(0)
  codecOf(api.response, version).write(to, body)
  return framed(to)
}

/** Writes a request, its length included. */
export function writeRequest<Q extends Message>(
  api: Api<Q>,
  version: number,
  correlationId: number,
  clientId: string | null,
  body: WrittenMessage<Q>,
): Uint8Array[] {
  const to = new ByteWriter()
  to.int32(0)
  to.int16(api.key)
  to.int16(version)
  to.int32(correlationId)
  const bytes = clientId === null ? -1 : Buffer.byteLength(clientId)
  to.int16(bytes)
  if (clientId !== null) to.text(clientId, bytes)
  if (includes(api.request.flexible, version)) to.uvarint(0)
  codecOf(api.request, version).write(to, body)
  return framed(to)
}

/** Reads an answer. @param frame without its length @throws INVALID_REQUEST */
export function readResponse<A extends Message>(
  api: Api<Message, A>,
  version: number,
  frame: Uint8Array,
): { readonly correlationId: number; readonly body: MessageOf<A> } {
  const from = new ByteReader(frame)
  const correlationId = from.int32()
  if (includes(api.response.flexible, version) && api.key !== API_VERSIONS_KEY) skipTagged(from)
  const body = codecOf(api.response, version).read(from)
  if (from.left > 0) from.fail('bytes left over')
  return { correlationId, body }
}

function framed(to: ByteWriter): Uint8Array[] {
  const { length } = to
  const pieces = to.finish()
  const [first] = pieces as [Buffer]
  first.writeInt32BE(length - LENGTH_BYTES)
  return pieces
}
