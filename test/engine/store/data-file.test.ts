import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { checkDataFile } from '../../../engine/store/data-file.ts'
import { Store } from '../../../engine/store/store.ts'
import { childArguments, errorOf, openStore, runChild, temporaryDirectory } from './support.ts'

const PAGE_BYTES = 4096

function dataFile(directory: string): string {
  return join(directory, 'store', 'data.mdb')
}

/** A closed store with several levels of pages, overflow pages, and a used free list. */
async function filledDirectory(): Promise<string> {
  const directory = temporaryDirectory()
  const store = Store.open(directory)
  const topics = Array.from({ length: 60 }, (_, i) =>
    store.topics.create(`topic-${i}`, 5, { note: 'x'.repeat(i * 60) }),
  )
  for (let g = 0; g < 30; g++) {
    const entries = topics.slice(0, 40).map(({ topicId }) => {
      return { topicId, partition: g % 3, offset: g, leaderEpoch: 0, metadata: 'm'.repeat(g), committedAtMs: 1 }
    })
    await store.offsets.commit(`group-${g}`, entries)
  }
  store.schemas.register('subject', 'y'.repeat(30_000))
  for (let i = 0; i < 15; i++) await store.topics.delete(`topic-${i * 3}`)
  await store.close()
  return directory
}

describe('the data file', () => {
  test('of every store that was written is sound', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    const directory = temporaryDirectory()
    for (let round = 0; round < 6; round++) {
      const store = Store.open(directory)
      for (let i = 0; i < 40; i++) {
        const name = `topic-${random.below(60)}`
        if (store.topics.get(name) === undefined) store.topics.create(name, 3)
        else if (random.chance(0.3)) await store.topics.delete(name)
        else store.topics.setConfig(name, { note: 'x'.repeat(random.below(random.pick([10, 3000, 30_000]))) })
      }
      const ids = store.topics.list().map(({ topicId }) => topicId)
      await Promise.all(
        Array.from({ length: 300 }, () => {
          const entry = { topicId: random.pick(ids), partition: random.below(3), offset: random.below(1e9) }
          const rest = { leaderEpoch: 0, metadata: 'm'.repeat(random.below(500)), committedAtMs: 1 }
          return store.offsets.commit(`group ${random.below(100)}`, [{ ...entry, ...rest }])
        }),
      )
      await store.close()
      expect(checkDataFile(dataFile(directory), false), `seed ${seed} round ${round}`).toBe('sound')
    }
  })

  test('that is missing or empty is absent', () => {
    const directory = temporaryDirectory()
    expect(checkDataFile(join(directory, 'none'), false)).toBe('absent')
    writeFileSync(join(directory, 'empty'), '')
    expect(checkDataFile(join(directory, 'empty'), true)).toBe('absent')
  })

  test.each([
    ['short', Buffer.alloc(100, 7)],
    ['zeros', Buffer.alloc(20_000)],
    ['text', Buffer.from('not a database\n'.repeat(2000))],
  ])('that is no database (%s) is CORRUPT_STORE, for reader and writer', async (_, bytes) => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'store'))
    writeFileSync(dataFile(directory), bytes)
    for (const readOnly of [false, true]) {
      expect((await errorOf(() => Store.open(directory, { readOnly }))).code).toBe('CORRUPT_STORE')
    }
    expect(readFileSync(dataFile(directory)).equals(bytes)).toBe(true)
  })

  test('that was cut short is CORRUPT_STORE, unless only unused pages are gone', async () => {
    const directory = await filledDirectory()
    const bytes = readFileSync(dataFile(directory))
    let refused = 0
    for (let pages = Math.floor(bytes.length / PAGE_BYTES) - 1; pages >= 1; pages--) {
      truncateSync(dataFile(directory), pages * PAGE_BYTES - (pages % 2))
      try {
        checkDataFile(dataFile(directory), false)
      } catch (error) {
        expect(error).toMatchObject({ code: 'CORRUPT_STORE' })
        refused++
      }
    }
    expect(refused).toBeGreaterThan(bytes.length / PAGE_BYTES / 3) // the file ends with room for pages to come
  })

  test('of another data version is CORRUPT_STORE with that version', async () => {
    const directory = await filledDirectory()
    const bytes = readFileSync(dataFile(directory))
    for (const page of [0, 1]) bytes.writeUInt32LE(3, page * PAGE_BYTES + 28)
    writeFileSync(dataFile(directory), bytes)
    expect((await errorOf(() => Store.open(directory))).details['reason']).toBe('LMDB data version 3')
  })

  test('damaged anywhere never takes the process down', async () => {
    const seed = testSeed()
    const base = await filledDirectory()
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'store'))
    copyFileSync(dataFile(base), join(directory, 'good.mdb'))
    const random = new URL('../../../engine/base/random.ts', import.meta.url).href
    // In a child, because what is tested for is a crash; it writes to the file too, since a damaged free list shows late.
    const child = runChild(`
      import { readFileSync, writeFileSync } from 'node:fs'
      import { Random } from ${JSON.stringify(random)}
      const directory = ${JSON.stringify(directory)}
      const good = readFileSync(directory + '/good.mdb')
      const random = new Random(${seed})
      const outcomes = { sound: 0, refused: 0, other: 0 }
      for (let round = 0; round < 250; round++) {
        const bytes = Buffer.from(good)
        const page = random.below(bytes.length / ${PAGE_BYTES}) * ${PAGE_BYTES}
        const kind = random.below(4)
        if (kind === 0) bytes[random.below(bytes.length)] = random.u32()
        else if (kind === 1) bytes[page + random.below(64)] = random.u32()
        else if (kind === 2) bytes.set(random.bytes(${PAGE_BYTES}), page)
        else {
          const from = random.below(bytes.length / ${PAGE_BYTES}) * ${PAGE_BYTES}
          bytes.copyWithin(page, from, from + ${PAGE_BYTES})
        }
        writeFileSync(directory + '/store/data.mdb', bytes)
        let store
        try {
          store = Store.open(directory)
          for (const { topicId } of store.topics.list()) store.checkpoints.ofTopic(topicId)
          for (const group of store.offsets.groups()) store.offsets.ofGroup(group)
          store.schemas.list()
          store.topics.create('new', 1, { note: 'x'.repeat(9000) })
          await store.topics.delete('new')
          outcomes.sound++
        } catch (error) {
          if (error.name !== 'MillraceError') throw error
          outcomes[error.code === 'CORRUPT_STORE' ? 'refused' : 'other']++
        }
        await store?.close()
      }
      console.log(JSON.stringify(outcomes))`)
    expect(child, `seed ${seed}`).toMatchObject({ status: 0, signal: null })
    const outcomes = JSON.parse(child.stdout) as Record<string, number>
    expect(outcomes['refused'], `seed ${seed}`).toBeGreaterThan(30)
    expect(outcomes['other'], `seed ${seed}`).toBeLessThan(20)
  })

  test('is not mistaken for damaged beside a process that writes to it', async () => {
    const directory = await filledDirectory()
    const child = spawn(
      process.execPath,
      childArguments(`
        const store = Store.open(${JSON.stringify(directory)})
        const topics = store.topics.list()
        console.log('ready')
        const until = Date.now() + 20_000
        for (let i = 0; Date.now() < until; i++) store.topics.setConfig(topics[i % topics.length].topic, { note: 'x'.repeat(i % 7000) })`),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    try {
      await once(child.stdout, 'data')
      const reader = openStore(directory, { readOnly: true })
      for (const until = Date.now() + 1500; Date.now() < until; ) {
        expect(checkDataFile(dataFile(directory), true)).toBe('sound')
      }
      expect(reader.topics.list()).toHaveLength(45)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    expect(checkDataFile(dataFile(directory), false)).toBe('sound')
  })
})
