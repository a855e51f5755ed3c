/** A listener with TLS beside one without, and what clients of each are told to connect to. */
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, test } from 'vitest'
import { testBroker } from '../../../client/testing.ts'
import { selfSigned } from './support/certificate.ts'

const tls = selfSigned()
if (tls === undefined) console.log('skipped: TLS: there is no openssl to make a certificate with')

describe.skipIf(tls === undefined)('listeners', () => {
  test('with TLS and without', async () => {
    const identity = tls as { key: Buffer; cert: Buffer }
    await using broker = await testBroker()
    const server = await broker.engine.listen({ listeners: [{ port: 0, tls: identity }, { port: 0 }] })
    const [secure, plain] = server.addresses as unknown as readonly [{ port: number }, { port: number }]
    const encrypted = new Kafka({
      brokers: [`127.0.0.1:${secure.port}`],
      ssl: { ca: [identity.cert] },
      logLevel: logLevel.NOTHING,
    })
    const producer = encrypted.producer()
    await producer.connect()
    await producer.send({ topic: 'secret', messages: [{ value: 'a' }] })
    await producer.disconnect()
    const admin = encrypted.admin()
    await admin.connect()
    expect((await admin.describeCluster()).brokers).toMatchObject([{ port: secure.port }])
    await admin.disconnect()
    const open = new Kafka({ brokers: [`127.0.0.1:${plain.port}`], logLevel: logLevel.NOTHING }).admin()
    await open.connect()
    expect((await open.describeCluster()).brokers).toMatchObject([{ port: plain.port }])
    expect(await open.listTopics()).toEqual(['secret'])
    await open.disconnect()
  })

  test('one who speaks no TLS, or does not trust the certificate, does not get in', async () => {
    await using broker = await testBroker({ tls: tls as { key: Buffer; cert: Buffer } })
    const retry = { retries: 0 }
    for (const ssl of [false, true]) {
      const admin = new Kafka({
        brokers: [broker.bootstrap],
        ssl,
        logLevel: logLevel.NOTHING,
        retry,
        connectionTimeout: 2_000,
        requestTimeout: 2_000,
      }).admin()
      await expect(admin.connect()).rejects.toThrow()
      await admin.disconnect().catch(() => undefined)
    }
  })
})
