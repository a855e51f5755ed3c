import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CHANGES_KEPT } from '../../../engine/base/limits.ts'
import { LmdbMetadata } from '../../../engine/cluster/lmdb-metadata.ts'

const PROCESS = join(import.meta.dirname, 'metadata-process.ts')

let directory: string
const children: ChildProcess[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-metadata-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

function start(task: string, failpoints = ''): ChildProcess {
  const env = { ...process.env, MILLRACE_FAILPOINTS: failpoints }
  const child = spawn(process.execPath, [PROCESS, directory, task], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

const says = (child: ChildProcess, line: string): Promise<void> =>
  new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', piece => {
      text += piece
      if (text.split('\n').includes(line)) resolve()
    })
    child.once('exit', () => reject(new Error(`it ended before it said "${line}"`)))
  })

const ended = (child: ChildProcess): Promise<NodeJS.Signals | null> =>
  new Promise(resolve => child.once('exit', (_, signal) => resolve(signal)))

const open = (timeoutMs?: number): Promise<LmdbMetadata> =>
  LmdbMetadata.open({ directory, bootId: 'one', ...(timeoutMs === undefined ? {} : { timeoutMs }) })

test('of a process that is killed within a commit nothing is left, its lock included', async () => {
  const child = start('commit', 'metadata-before-commit=kill@2')
  expect(await ended(child)).toBe('SIGKILL')
  const store = await open()
  expect((await store.get('before'))?.value).toBe('1')
  expect((await store.list('within/')).entries).toEqual([])
  expect((await store.commit([], [{ key: 'within/a', value: '2' }])).kind).toBe('done')
  await store.close()
})

test('a process that is stopped with the lock stops no event loop: who cannot write is told, and whom it waits for', async () => {
  const store = await open(500)
  const child = start('commit', 'metadata-before-commit=delay:60000@2')
  await says(child, 'committing')
  await sleep(200)
  child.kill('SIGSTOP')
  let turns = 0
  const timer = setInterval(() => turns++, 10)
  const refused = store.commit([], [{ key: 'mine', value: '1' }])
  await expect(refused).rejects.toMatchObject({ code: 'METADATA_STORE_UNAVAILABLE', details: { pid: child.pid } })
  clearInterval(timer)
  expect(turns).toBeGreaterThan(20)
  expect((await store.get('before'))?.value).toBe('1')
  const left = ended(child)
  child.kill('SIGKILL')
  await left
  expect((await store.commit([{ key: 'mine', version: 0 }], [{ key: 'mine', value: '1' }])).kind).toBe('done')
  await store.close()
})

test('the lease of a killed process ends by itself, and those who watch are told', async () => {
  const store = await open()
  const changes: (string | undefined)[] = []
  store.watch('brokers/', 0, { changed: some => changes.push(...some.map(({ value }) => value)), lost: () => {} })
  const child = start('lease')
  await says(child, 'leased')
  await sleep(1_500)
  expect((await store.get('brokers/1'))?.value).toBe('alive')
  const killedAtMs = performance.now()
  child.kill('SIGKILL')
  while (changes.length < 2 && performance.now() < killedAtMs + 5_000) await sleep(5)
  expect(changes).toEqual(['alive', undefined])
  expect(performance.now() - killedAtMs).toBeLessThan(2_000)
  await store.close()
})

test('leases of an earlier boot are over', async () => {
  const before = await open()
  const lease = await before.lease(600_000)
  await before.commit([], [{ key: 'brokers/1', value: 'alive', lease }])
  await before.close()
  const after = await LmdbMetadata.open({ directory, bootId: 'two' })
  const deadline = performance.now() + 5_000
  while ((await after.get('brokers/1')) !== undefined && performance.now() < deadline) await sleep(5)
  expect(await after.get('brokers/1')).toBeUndefined()
  await after.close()
})

test('a watch that is too far behind is told so, once', async () => {
  const store = await open()
  for (let batch = 0; batch < CHANGES_KEPT / 100 + 1; batch++) {
    await Promise.all(Array.from({ length: 100 }, () => store.commit([], [{ key: 'a', value: String(batch) }])))
  }
  let lost = 0
  let changed = 0
  store.watch('', 3, { changed: () => changed++, lost: () => lost++ })
  store.watch('', (await store.list('')).revision - 5, { changed: () => changed++, lost: () => {} })
  await sleep(300)
  expect({ lost, changed }).toEqual({ lost: 1, changed: 5 })
  await store.close()
}, 120_000)

test('a file that is no table of leases is refused and left as it is', async () => {
  await (await open()).close()
  writeFileSync(join(directory, 'cluster/leases'), 'something else')
  await expect(open()).rejects.toMatchObject({ code: 'CORRUPT_STORE' })
})
