import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import { FORMAT_VERSION } from '../../../engine/store/meta.ts'
import { Store } from '../../../engine/store/store.ts'
import { codeAndDetails, errorOf, openStore, putRaw, runChild, temporaryDirectory } from './support.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

function dataHash(directory: string): string {
  return createHash('sha256')
    .update(readFileSync(join(directory, 'store', 'data.mdb')))
    .digest('hex')
}

/** A thread that has the directory open read-only. */
async function readerThread(directory: string) {
  const store = new URL('../../../engine/store/store.ts', import.meta.url).href
  const source = `
    import { parentPort } from 'node:worker_threads'
    import { Store } from ${JSON.stringify(store)}
    const store = Store.open(${JSON.stringify(directory)}, { readOnly: true })
    parentPort.on('message', async command => {
      if (command === 'topics') return parentPort.postMessage(store.topics.list().length)
      await store.close()
      parentPort.close()
    })
    parentPort.postMessage('open')`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`))
  await once(worker, 'message')
  return {
    async topics(): Promise<unknown> {
      worker.postMessage('topics')
      return (await once(worker, 'message'))[0]
    },
    async close(): Promise<void> {
      worker.postMessage('close')
      await once(worker, 'exit')
    },
    terminate: () => worker.terminate(),
  }
}

describe('opening', () => {
  test('creates the environment in store/ and keeps its id', async () => {
    const directory = join(temporaryDirectory(), 'not', 'there', 'yet')
    const store = openStore(directory)
    const id = store.directoryId
    expect(id).toMatch(UUID)
    expect(readdirSync(join(directory, 'store')).sort()).toEqual(['data.mdb', 'lock.mdb'])
    await store.close()
    expect(openStore(directory).directoryId).toBe(id)
  })

  test('gives each directory an id of its own', () => {
    expect(openStore(temporaryDirectory()).directoryId).not.toBe(openStore(temporaryDirectory()).directoryId)
  })

  test('refuses a newer format and leaves its data untouched', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    await putRaw(directory, 'meta', Buffer.from('format'), String(FORMAT_VERSION + 1))
    const before = dataHash(directory)
    for (const readOnly of [false, true]) {
      expect(await codeAndDetails(() => Store.open(directory, { readOnly }))).toEqual({
        code: 'NEWER_FORMAT',
        details: { directory, found: FORMAT_VERSION + 1, supported: FORMAT_VERSION },
      })
    }
    expect(dataHash(directory)).toBe(before)
  })

  test('opening and closing without a change leaves the data as it is', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    const before = dataHash(directory)
    await Store.open(directory).close()
    await Store.open(directory, { readOnly: true }).close()
    expect(dataHash(directory)).toBe(before)
  })

  test.each([
    ['format', '"one"'],
    ['directory-id', '7'],
    ['format', '{'],
  ])('an unreadable fact %s = %s is CORRUPT_STORE', async (key, text) => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    await putRaw(directory, 'meta', Buffer.from(key), text)
    const { code, details } = await errorOf(() => Store.open(directory))
    expect({ code, database: details['database'], key: details['key'] }).toEqual({
      code: 'CORRUPT_STORE',
      database: 'meta',
      key,
    })
  })

  test('a directory whose creation was interrupted is created again; one that lost its format is damaged', async () => {
    const interrupted = temporaryDirectory()
    await putRaw(interrupted, 'topics', Buffer.from('k'), 'x')
    rmSync(join(interrupted, 'store'), { recursive: true })
    mkdirSync(join(interrupted, 'store'))
    writeFileSync(join(interrupted, 'store', 'data.mdb'), '')
    expect(openStore(interrupted).topics.list()).toEqual([])

    const damaged = temporaryDirectory()
    await putRaw(damaged, 'topics', Buffer.from('events'), '{}')
    expect((await errorOf(() => Store.open(damaged))).code).toBe('CORRUPT_STORE')
  })
})

describe('read-only', () => {
  test('a missing directory is DIRECTORY_NOT_FOUND and is not created', async () => {
    const directory = join(temporaryDirectory(), 'missing')
    expect((await errorOf(() => Store.open(directory, { readOnly: true }))).code).toBe('DIRECTORY_NOT_FOUND')
    expect(existsSync(directory)).toBe(false)
  })

  test('a directory that is not ours is DIRECTORY_NOT_FOUND', async () => {
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'notes.txt'), 'nothing to do with it')
    expect((await errorOf(() => Store.open(directory, { readOnly: true }))).code).toBe('DIRECTORY_NOT_FOUND')
    expect(readdirSync(directory)).toEqual(['notes.txt'])
  })

  test('sees at once what a writer in the same process commits, and cannot write', async () => {
    const directory = temporaryDirectory()
    const writer = openStore(directory)
    const reader = openStore(directory, { readOnly: true })
    expect(reader.directoryId).toBe(writer.directoryId)
    const { topicId } = writer.topics.create('events', 3)
    expect(reader.topics.get('events')?.partitions).toBe(3)
    writer.topics.setPartitions('events', 5)
    expect(reader.topics.get('events')?.partitions).toBe(5)
    await writer.offsets.commit('group', [
      { topicId, partition: 0, offset: 9, leaderEpoch: 0, metadata: '', committedAtMs: 1 },
    ])
    expect(reader.offsets.get('group', topicId, 0)?.offset).toBe(9)

    const writes = [
      () => reader.topics.create('other', 1),
      () => reader.topics.setConfig('events', {}),
      () => reader.topics.delete('events'),
      () => reader.takeCleanShutdown(),
      () => reader.markCleanShutdown({ bootId: 'boot', atMs: 1 }),
      () => reader.schemas.register('subject', '"long"'),
      () => reader.offsets.deleteGroup('group'),
    ]
    for (const write of writes) expect((await errorOf(write)).code).toBe('READ_ONLY')
    await reader.close()
    expect(writer.topics.setPartitions('events', 6).partitions).toBe(6)
  })

  test('sees what another process commits while it is open, in both directions', async () => {
    const directory = temporaryDirectory()
    const writer = openStore(directory)
    writer.topics.create('first', 1)
    const source = `
      const store = Store.open(${JSON.stringify(directory)}, { readOnly: true })
      console.log(store.topics.list().map(t => t.topic).join())
      await store.close()`
    expect(runChild(source).stdout).toBe('first\n')
    // Far past the size that the environment was mapped with.
    for (let i = 0; i < 40; i++) writer.topics.create(`topic-${i}`, 1, { note: 'x'.repeat(50_000) })
    expect(runChild(source).stdout.split(',')).toHaveLength(41)
  })

  test('a long-lived reader follows a writer of another process that outgrows the mapping', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    const reader = openStore(directory, { readOnly: true })
    expect(reader.topics.list()).toEqual([])
    const child = runChild(`
      const store = Store.open(${JSON.stringify(directory)})
      for (let i = 0; i < 30; i++) store.topics.create('topic-' + i, 1, { note: 'x'.repeat(100_000) })
      await store.close()`)
    expect(child).toMatchObject({ status: 0, stderr: '' })
    const topics = reader.topics.list()
    expect(topics).toHaveLength(30)
    expect(topics.every(topic => topic.config['note']?.length === 100_000)).toBe(true)
  })

  test('a reader that opened first keeps the same thread from writing until it is closed', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    const reader = openStore(directory, { readOnly: true })
    expect(await codeAndDetails(() => Store.open(directory))).toEqual({
      code: 'DIRECTORY_LOCKED',
      details: { directory, reason: 'open read-only in this process' },
    })
    await reader.close()
    expect(openStore(directory).topics.create('events', 1).partitions).toBe(1)
  })

  test('a reader in another thread keeps this one from writing until it is closed, and joins a writer', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    const first = await readerThread(directory)
    expect((await errorOf(() => Store.open(directory))).code).toBe('DIRECTORY_LOCKED')
    await first.close()

    const writer = openStore(directory)
    const second = await readerThread(directory)
    writer.topics.create('events', 1)
    expect(await second.topics()).toBe(1)
    await second.terminate()
    expect(writer.topics.create('other', 1).partitions).toBe(1)
  })

  test('a writer may come back while a reader that joined it stays', async () => {
    const directory = temporaryDirectory()
    const first = openStore(directory)
    const reader = openStore(directory, { readOnly: true })
    await first.close()
    openStore(directory).topics.create('events', 2)
    expect(reader.topics.get('events')?.partitions).toBe(2)
  })
})

describe('the clean-shutdown marker', () => {
  test('is there once after a clean close', async () => {
    const directory = temporaryDirectory()
    const first = openStore(directory)
    expect(first.takeCleanShutdown()).toBeUndefined()
    await first.markCleanShutdown({ bootId: 'boot', atMs: 123 })
    await first.close()

    const reader = openStore(directory, { readOnly: true })
    expect(reader.cleanShutdown).toEqual({ bootId: 'boot', atMs: 123 })
    await reader.close()

    const second = openStore(directory)
    expect(second.takeCleanShutdown()).toEqual({ bootId: 'boot', atMs: 123 })
    expect(second.takeCleanShutdown()).toBeUndefined()
  })

  test('once taken it is gone for good, even when the process is killed right away', () => {
    const directory = temporaryDirectory()
    const prepare = runChild(`
      const store = Store.open(${JSON.stringify(directory)})
      await store.markCleanShutdown({ bootId: 'boot', atMs: 1 })
      process.kill(process.pid, 'SIGKILL')`)
    expect(prepare.signal).toBe('SIGKILL')
    const take = runChild(`
      const store = Store.open(${JSON.stringify(directory)})
      console.log(store.takeCleanShutdown()?.bootId)
      process.kill(process.pid, 'SIGKILL')`)
    expect(take.stdout).toBe('boot\n')
    expect(openStore(directory).takeCleanShutdown()).toBeUndefined()
  })

  test('a crash just before it leaves none', () => {
    const directory = temporaryDirectory()
    const child = runChild(
      `const store = Store.open(${JSON.stringify(directory)})
       store.topics.create('events', 1)
       await store.markCleanShutdown({ bootId: 'boot', atMs: 1 })`,
      { MILLRACE_FAILPOINTS: 'close-before-marker=kill' },
    )
    expect(child.signal).toBe('SIGKILL')
    const store = openStore(directory)
    expect(store.takeCleanShutdown()).toBeUndefined()
    expect(store.topics.get('events')?.partitions).toBe(1)
  })

  test('a marker of another shape is CORRUPT_STORE', async () => {
    const directory = temporaryDirectory()
    await Store.open(directory).close()
    await putRaw(directory, 'meta', Buffer.from('clean-shutdown'), '{"bootId":1}')
    expect((await errorOf(() => openStore(directory).takeCleanShutdown())).code).toBe('CORRUPT_STORE')
  })
})

describe('closing', () => {
  test('flushes what was submitted, may be called twice, and refuses everything after', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { topicId } = store.topics.create('events', 1)
    const committed: number[] = []
    for (let offset = 0; offset < 100; offset++) {
      const entry = { topicId, partition: 0, offset, leaderEpoch: 0, metadata: '', committedAtMs: 1 }
      void store.offsets.commit('group', [entry]).then(() => committed.push(offset))
    }
    expect(store.pendingWrites).toBe(100)
    const closing = store.close()
    expect(store.close()).toBe(closing)
    await closing
    expect(committed).toHaveLength(100)
    const calls = [
      () => store.topics.get('events'),
      () => store.topics.create('other', 1),
      () => store.offsets.ofGroup('group'),
      () => store.offsets.deleteGroup('group'),
      () => store.takeCleanShutdown(),
      () => store.schemas.list(),
    ]
    for (const call of calls) expect((await errorOf(call)).code).toBe('CLOSED')
    expect(openStore(directory).offsets.get('group', topicId, 0)?.offset).toBe(99)
  })

  test('nothing keeps the process alive after it', () => {
    const child = runChild(`
      const store = Store.open(${JSON.stringify(temporaryDirectory())})
      store.topics.create('events', 1)
      await store.close()
      console.log('closed')`)
    expect(child).toMatchObject({ status: 0, stdout: 'closed\n', stderr: '' })
  })
})
