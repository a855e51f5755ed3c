/** Addresses, and what a connection to a cluster cannot do. */
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { connect, Millrace } from '../../../client/index.ts'
import type { RemoteConnection } from '../../../client/remote/connection.ts'
import { embedded, open, served } from './transports.ts'

describe('addresses', () => {
  test.each(['kafka://', 'kafka://host:port', 'kafka://a:1,b:99999', 'http://host:1', 'kafka://a/b'])(
    '%s',
    async address => {
      await expect(connect(address)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    },
  )

  test('where nobody answers', async () => {
    await expect(connect('kafka://127.0.0.1:1', { kafka: { retries: 0 } })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
    })
  })

  test('a file URL is the engine of this process', async () => {
    const { address, stop } = await embedded.start()
    const connection = await connect(pathToFileURL(address).href)
    expect(connection).toBeInstanceOf(Millrace)
    await connection.close()
    await stop()
  })
})

test('what a cluster cannot do is told', async () => {
  const { connection, stop } = await open(served)
  const { admin } = connection as RemoteConnection
  const asked = [
    admin.adoptTopic(),
    admin.truncate(),
    admin.applyRetention(),
    admin.applyCompaction(),
    admin.listQueues(),
  ]
  await Promise.all(asked.map(each => expect(each).rejects.toMatchObject({ code: 'UNSUPPORTED_OPERATION' })))
  expect(() => (connection as RemoteConnection).queue()).toThrow('UNSUPPORTED_OPERATION')
  expect(() => (connection as RemoteConnection).schemas).toThrow('UNSUPPORTED_OPERATION')
  const consumer = connection.consumer({ groupId: 'patterns' })
  await expect(consumer.subscribe({ pattern: 'a.*' })).rejects.toMatchObject({ code: 'UNSUPPORTED_OPERATION' })
  await consumer.close()
  await stop()
})
