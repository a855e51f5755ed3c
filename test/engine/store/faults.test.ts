import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { TopicId } from '../../../engine/base/brands.ts'
import { PENDING_WRITES_MAX } from '../../../engine/base/limits.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'
import { Store } from '../../../engine/store/store.ts'
import { childArguments, errorOf, openStore, temporaryDirectory } from './support.ts'

/** A file system of one MiB, or the reason why there is none. */
function mountSmall(): { directory: string; unmount: () => void } | string {
  if (process.getuid?.() !== 0) return 'needs root to mount a small file system'
  const directory = join(temporaryDirectory(), 'small')
  mkdirSync(directory)
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], {
    encoding: 'utf8',
  })
  if (status !== 0) return `cannot mount a small file system: ${stderr}`
  return { directory, unmount: () => spawnSync('umount', ['--lazy', directory]) }
}

function commitOf(topicId: TopicId, offset: number, metadata = '') {
  return [{ topicId, partition: 0, offset, leaderEpoch: 0, metadata, committedAtMs: 1 }]
}

describe('a killed process', () => {
  test('leaves every commit that was acknowledged, and a store that opens', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    const directory = temporaryDirectory()
    const store = Store.open(directory)
    const { topicId } = store.topics.create('events', 1)
    await store.close()
    for (let round = 0; round < 12; round++) {
      const child = spawn(
        process.execPath,
        childArguments(`
          import { writeSync } from 'node:fs'
          const store = Store.open(${JSON.stringify(directory)})
          const { topicId } = store.topics.get('events')
          let next = (store.offsets.get('group', topicId, 0)?.offset ?? 0) + 1
          for (const until = Date.now() + 20_000; Date.now() < until; ) {
            const offset = next++
            const commit = store.offsets.commit('group', [
              { topicId, partition: 0, offset, leaderEpoch: 0, metadata: '', committedAtMs: 1 },
            ])
            void commit.then(() => writeSync(1, offset + '\\n'))
            if (offset % 3 === 0) await commit
          }`),
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
      const closed = once(child, 'close')
      try {
        await once(child.stdout, 'data')
        await sleep(random.below(60))
      } finally {
        child.kill('SIGKILL')
        await closed
      }
      const acknowledged = Number(output.split('\n').at(-2))
      const reopened = Store.open(directory)
      const found = reopened.offsets.get('group', topicId, 0)?.offset
      await reopened.close()
      expect(found, `seed ${seed} round ${round}`).toBeGreaterThanOrEqual(acknowledged)
    }
  })
})

describe('writing', () => {
  test('in transactions and commits at once, without a deadlock and in order', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('events', 1)
    const commits: Promise<void>[] = []
    for (let i = 0; i < 150; i++) {
      for (let j = 0; j < 20; j++) commits.push(store.offsets.commit(`group-${j}`, commitOf(topicId, i)))
      if (i % 3 === 0) store.topics.create(`topic-${i}`, 1)
      if (i % 5 === 0) await new Promise(setImmediate)
      if (i % 7 === 0) await commits.at(-1)
    }
    await Promise.all(commits)
    expect(store.topics.list()).toHaveLength(51)
    for (let j = 0; j < 20; j++) expect(store.offsets.get(`group-${j}`, topicId, 0)?.offset).toBe(149)
  })

  test('faster than the disk, without waiting, ends in BACK_PRESSURE and not in endless memory', async () => {
    const store = openStore(temporaryDirectory())
    const { topicId } = store.topics.create('events', 1000)
    const many = Array.from({ length: 1000 }, (_, partition) => ({ ...commitOf(topicId, 1)[0], partition }))
    const entries = many as Parameters<typeof store.offsets.commit>[1]
    const commits = Array.from({ length: Math.ceil(PENDING_WRITES_MAX / 1000) + 3 }, () =>
      store.offsets.commit('g', entries),
    )
    const results = await Promise.allSettled(commits)
    const refused = results.filter(result => result.status === 'rejected')
    expect(refused).toHaveLength(4)
    expect(refused.every(({ reason }) => reason.code === 'BACK_PRESSURE' && reason.retriable)).toBe(true)
    expect(store.pendingWrites).toBe(0)
    expect(store.offsets.ofGroup('g')).toHaveLength(1000)
  })
})

describe('a full disk', () => {
  test('is DISK_FULL for commits and transactions; reading goes on, and writing once there is room', async context => {
    const small = mountSmall()
    if (typeof small === 'string') return context.skip(small)
    const unhandled: unknown[] = []
    const note = (reason: unknown): number => unhandled.push(reason)
    process.on('unhandledRejection', note)
    const store = Store.open(small.directory)
    try {
      const { topicId } = store.topics.create('events', 1)
      await store.offsets.commit('first', commitOf(topicId, 1))
      writeFileSync(join(small.directory, 'ballast'), Buffer.alloc(400 * 1024))
      const commits = Array.from({ length: 400 }, (_, i) =>
        store.offsets.commit(`group-${i}`, commitOf(topicId, i, 'm'.repeat(4000))),
      )
      const codes = (await Promise.allSettled(commits)).map(
        result => result.status === 'rejected' && result.reason.code,
      )
      expect(new Set(codes)).toEqual(new Set(['DISK_FULL']))
      const large = { note: 'x'.repeat(900_000) }
      expect((await errorOf(() => store.topics.create('large', 1, large))).code).toBe('DISK_FULL')
      expect(store.offsets.get('first', topicId, 0)?.offset).toBe(1)
      expect(store.topics.get('large')).toBeUndefined()

      rmSync(join(small.directory, 'ballast'))
      await store.offsets.commit('later', commitOf(topicId, 2))
      store.topics.create('small', 1)
      await store.close()
      const again = Store.open(small.directory)
      expect(again.offsets.groups().sort()).toEqual(['first', 'later'])
      expect(again.topics.list().map(({ topic }) => topic)).toEqual(['events', 'small'])
      await again.close()
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
      await store.close()
      small.unmount()
    }
  })

  test('is DISK_FULL for a new directory, which opens once there is room', async context => {
    const small = mountSmall()
    if (typeof small === 'string') return context.skip(small)
    try {
      const directory = join(small.directory, 'data')
      mkdirSync(directory)
      const ballast = join(small.directory, 'ballast')
      for (const free of [0, 8, 100]) {
        writeFileSync(ballast, Buffer.alloc((1024 - free - 8) * 1024))
        expect((await errorOf(() => Store.open(directory))).code, `${free} KiB free`).toBe('DISK_FULL')
      }
      rmSync(ballast)
      await Store.open(directory).close()
    } finally {
      small.unmount()
    }
  })
})

describe('files of another user', () => {
  test('are read where they may be, and IO_ERROR otherwise', async context => {
    if (process.getuid?.() !== 0) return context.skip('needs root to run a process as another user')
    const directory = temporaryDirectory()
    const store = openStore(directory)
    store.topics.create('events', 1)
    const file = (name: string): string => join(directory, 'store', name)
    const asNobody = (readOnly: boolean): string => {
      const source = `
        try {
          const store = Store.open(${JSON.stringify(directory)}, { readOnly: ${readOnly} })
          console.log(store.topics.list().length)
          await store.close()
        } catch (error) {
          console.log(error.code)
        }`
      const child = spawnSync(process.execPath, childArguments(source), { encoding: 'utf8', uid: 65_534, gid: 65_534 })
      return child.signal ?? (child.stdout.trim() || child.stderr)
    }
    chmodSync(directory, 0o755)
    chmodSync(file('data.mdb'), 0o644)
    const first = asNobody(true)
    if (first !== '1') return context.skip(`another user cannot run the sources: ${first.slice(0, 200)}`)
    expect(asNobody(false)).toBe('IO_ERROR')
    chmodSync(file('lock.mdb'), 0o600)
    expect(asNobody(true)).toBe('1')
    chmodSync(file('data.mdb'), 0o666)
    expect(asNobody(false)).toBe('IO_ERROR')
    chmodSync(file('data.mdb'), 0o600)
    expect([asNobody(true), asNobody(false)]).toEqual(['IO_ERROR', 'IO_ERROR'])
  })
})
