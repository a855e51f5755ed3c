/**
 * Frames that kafkajs, @platformatic/kafka, librdkafka and Kafka's Java clients sent to an Apache Kafka 4.4, and its answers: they are
 * read, and written they are the same bytes. Recorded by `test/kafka/programs/record-frames.ts`.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  type Api,
  readRequest,
  readResponse,
  writeRequest,
  writeResponse,
} from '../../../../engine/kafka/codec/frames.ts'
import { APIS } from '../../../../engine/kafka/messages/index.ts'
import { SERVED } from '../../../../engine/kafka/served.ts'
import type { Exchange } from '../../../kafka/support/recorder.ts'

const exchanges = JSON.parse(readFileSync(new URL('golden.json', import.meta.url), 'utf8')) as Exchange[]

const LENGTH_BYTES = 4

/** What is newer than the versions that are written down here. */
const isNewer = ({ apiKey, version }: Exchange): boolean => version > (APIS.get(apiKey)?.versions[1] ?? -1)

const cases = exchanges
  .filter(exchange => !isNewer(exchange))
  .map((exchange): [name: string, exchange: Exchange] => {
    const { client, apiKey, version } = exchange
    return [`${client}: ${APIS.get(apiKey)?.name ?? apiKey} ${version}`, exchange]
  })

describe('golden frames', () => {
  test('are of every main API', () => {
    const recorded = new Set(exchanges.map(({ apiKey }) => apiKey))
    const missing = [...SERVED.values()].filter(({ api }) => !recorded.has(api.key)).map(({ api }) => api.name)
    // Clients send the first after a change of leader; the others are of clusters, where Kafka's own tools are tried.
    expect(missing).toEqual(['OffsetForLeaderEpoch', 'ElectLeaders', 'AlterPartitionReassignments'])
    expect(exchanges.filter(isNewer).map(({ apiKey, version }) => [APIS.get(apiKey)?.name, version])).toEqual([
      ['ApiVersions', 5],
      ['DeleteGroups', 3],
    ])
    expect(new Set(exchanges.map(({ client }) => client))).toEqual(new Set(['java', 'kafkajs', 'kcat', 'platformatic']))
  })

  test.each(cases)('%s', (_, { apiKey, version, request, response }) => {
    const api = APIS.get(apiKey) as Api
    const [asked, answered] = [Buffer.from(request, 'base64'), Buffer.from(response, 'base64')]
    const { header, body } = readRequest(api, asked)
    expect(header).toMatchObject({ apiKey, apiVersion: version })
    const again = Buffer.concat(writeRequest(api, version, header.correlationId, header.clientId, body as never))
    expect(again.subarray(LENGTH_BYTES).toString('base64')).toBe(request)
    const answer = readResponse(api, version, answered)
    expect(answer.correlationId).toBe(header.correlationId)
    const written = Buffer.concat(writeResponse(api, version, answer.correlationId, answer.body as never))
    expect(written.subarray(LENGTH_BYTES).toString('base64')).toBe(response)
  })
})
