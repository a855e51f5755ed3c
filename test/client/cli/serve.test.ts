/** `millrace serve` as a process of its own, with a client that is not ours. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, test } from 'vitest'
import { selfSigned } from '../../kafka/clients/support/certificate.ts'
import { Child, CommandLine, temporaryFolder, WAIT_MS } from './support/cli.ts'

interface Announced {
  readonly nodeId: number
  readonly clusterId: string
  readonly listeners: readonly { readonly host: string; readonly port: number; readonly tls: boolean }[]
}

const folder = temporaryFolder()
const tls = selfSigned()
if (tls === undefined) console.log('skipped: TLS: there is no openssl to make a certificate with')

async function announced(child: Child): Promise<Announced> {
  await child.until('\n')
  return JSON.parse(child.stdout) as Announced
}

const kafkaAt = ({ listeners: [first] }: Announced): Kafka =>
  new Kafka({ brokers: [`${first?.host}:${first?.port}`], logLevel: logLevel.NOTHING })

describe('serve', () => {
  test('until it is interrupted, and again with what was produced', { timeout: WAIT_MS }, async () => {
    const args = ['--dir', join(folder, 'data'), 'serve', '-l', '127.0.0.1:0', '--node-id', '7', '--json']
    const child = new Child([...args, '--default-partitions', '3'])
    const first = await announced(child)
    expect(first).toMatchObject({ nodeId: 7, listeners: [{ host: '127.0.0.1', tls: false }] })
    const producer = kafkaAt(first).producer()
    await producer.connect()
    await producer.send({ topic: 'made', messages: [{ key: 'k', value: 'v' }] })
    await producer.disconnect()
    const admin = kafkaAt(first).admin()
    await admin.connect()
    expect(await admin.describeCluster()).toMatchObject({ brokers: [{ nodeId: 7 }], clusterId: first.clusterId })
    expect((await admin.fetchTopicOffsets('made')).map(({ offset }) => offset).sort()).toEqual(['0', '0', '1'])
    child.process.kill('SIGTERM')
    expect(await child.ended).toEqual({ exitCode: 0, signal: null })
    expect(child.stderr).toContain('data is new\nnode 7 serves ')
    await admin.disconnect()

    const again = new Child([...args, '--no-auto-create'])
    const second = await announced(again)
    expect(second.clusterId).toBe(first.clusterId)
    const other = kafkaAt(second).admin()
    await other.connect()
    expect(await other.fetchTopicOffsets('made')).toHaveLength(3)
    await expect(other.fetchTopicMetadata({ topics: ['absent'] })).rejects.toThrow(/does not host this topic/)
    await other.disconnect()
    again.process.kill('SIGINT')
    expect(await again.ended).toEqual({ exitCode: 0, signal: null })
  })

  test('while a command runs, and ends as it ends', { timeout: WAIT_MS }, async () => {
    const cli = new CommandLine(join(folder, 'command'))
    const run = (script: string) => cli.run(['serve', '-l', '127.0.0.1:0', '--', 'sh', '-c', script])
    const good = await run('echo $MILLRACE_BOOTSTRAP; echo aside >&2')
    expect(good).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^127\.0\.0\.1:\d+\n$/) })
    expect(good.stderr).toContain('aside\n')
    expect(await run('exit 3')).toMatchObject({ exitCode: 3 })
    // What the command line keeps for itself is not in the command's environment.
    const env: NodeJS.ProcessEnv = { ...process.env }
    delete env['NODE_COMPILE_CACHE']
    const script = 'echo "[$NODE_COMPILE_CACHE]"'
    const arguments_ = ['--dir', join(folder, 'command'), 'serve', '-l', '127.0.0.1:0', '--', 'sh', '-c', script]
    const plain = new Child(arguments_, { env })
    expect((await plain.ended).exitCode).toBe(0)
    expect(plain.stdout).toBe('[]\n')
    expect(await cli.run(['serve', '-l', '127.0.0.1:0', '--', 'no-such-command-here'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('no-such-command-here cannot be run'),
    })
  })

  test('advertises what it is told to', { timeout: WAIT_MS }, async () => {
    const args = ['serve', '-l', '127.0.0.1:0', '-a', 'broker.invalid:1234', '--json']
    const child = new Child(['--dir', join(folder, 'advertised'), ...args])
    const admin = kafkaAt(await announced(child)).admin()
    // kafkajs asks the seed broker for metadata, and then the address that this tells.
    await expect(
      Promise.race([
        admin.connect().then(() => admin.describeCluster()),
        new Promise((_, reject) => setTimeout(() => reject(new Error('no answer from broker.invalid:1234')), 3_000)),
      ]),
    ).rejects.toThrow('broker.invalid')
    void admin.disconnect().catch(() => undefined)
    child.process.kill('SIGTERM')
    expect((await child.ended).exitCode).toBe(0)
  })

  test.skipIf(tls === undefined)('over TLS beside an address without', { timeout: WAIT_MS }, async () => {
    const { cert, key } = tls as { cert: Buffer; key: Buffer }
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
    const listen = ['-l', '127.0.0.1:0', '-l', 'tls://127.0.0.1:0', '--tls-cert', certFile, '--tls-key', keyFile]
    const child = new Child(['--dir', join(folder, 'tls'), 'serve', ...listen, '--json'])
    const { listeners } = await announced(child)
    expect(listeners.map(listener => listener.tls)).toEqual([false, true])
    for (const { host, port, tls: isTls } of listeners) {
      const ssl = isTls ? { ca: [cert] } : false
      const admin = new Kafka({ brokers: [`${host}:${port}`], ssl, logLevel: logLevel.NOTHING }).admin()
      await admin.connect()
      expect((await admin.describeCluster()).brokers).toMatchObject([{ host, port }])
      await admin.disconnect()
    }
    child.process.kill('SIGTERM')
    expect((await child.ended).exitCode).toBe(0)
  })

  test.skipIf(tls === undefined)('over TLS to clients that have a certificate', { timeout: WAIT_MS }, async () => {
    const { cert, key } = tls as { cert: Buffer; key: Buffer }
    const [certFile, keyFile] = [join(folder, 'own.pem'), join(folder, 'own-key.pem')]
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
    const files = ['--tls-cert', certFile, '--tls-key', keyFile, '--tls-client-ca', certFile]
    const child = new Child(['--dir', join(folder, 'mutual'), 'serve', '-l', 'tls://127.0.0.1:0', ...files, '--json'])
    const { host, port } = (await announced(child)).listeners[0] as { host: string; port: number }
    const adminWith = (ssl: object) => {
      const retry = { retries: 0 }
      return new Kafka({ brokers: [`${host}:${port}`], ssl, retry, logLevel: logLevel.NOTHING }).admin()
    }
    const known = adminWith({ ca: [cert], cert, key })
    await known.connect()
    expect((await known.describeCluster()).brokers).toMatchObject([{ host, port }])
    await known.disconnect()
    const unknown = adminWith({ ca: [cert] })
    await expect(unknown.connect().then(() => unknown.describeCluster())).rejects.toThrow()
    await unknown.disconnect()
    child.process.kill('SIGTERM')
    expect((await child.ended).exitCode).toBe(0)
  })

  test.each([
    [['-l', 'nowhere'], 'HOST:PORT or tls://HOST:PORT'],
    [['-l', '127.0.0.1:65536'], 'port 0 to 65,535'],
    [['-a', 'tls://a:1'], 'Give HOST:PORT, port'],
    [['-l', 'tls://127.0.0.1:0'], '--tls-cert FILE and --tls-key FILE'],
    [['--tls-cert', 'c.pem', '--tls-key', 'k.pem'], 'no address uses TLS'],
    [['-a', 'a:1', '-a', 'b:1'], 'more --advertise than --listen'],
    [['--node-id', '-1'], 'from 0 to'],
  ])('wrong usage: %j', async (args, message) => {
    const { exitCode, stderr, stdout } = await new CommandLine(join(folder, 'none')).run(['serve', ...args])
    expect([exitCode, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
  })

  test('an address that is taken, and a certificate that is none', { timeout: WAIT_MS }, async () => {
    const child = new Child(['--dir', join(folder, 'taken'), 'serve', '-l', '127.0.0.1:0', '--json'])
    const port = String((await announced(child)).listeners[0]?.port)
    const other = new CommandLine(join(folder, 'other'))
    expect(await other.run(['serve', '-l', `127.0.0.1:${port}`])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('EADDRINUSE'),
    })
    const tls = ['serve', '-l', 'tls://127.0.0.1:0', '--tls-key', 'absent.pem', '--tls-cert', 'absent.pem']
    expect(await other.run(tls)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('cannot be read') })
    child.process.kill('SIGTERM')
    await child.ended
  })
})
