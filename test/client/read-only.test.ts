/**
 * A directory looked at from outside: beside a live owner in another process, while it changes hands, after its owner died, and
 * with no owner at all. Nothing may be changed by looking.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type ConsumedRecord, isMillraceError, Millrace } from '../../client/index.ts'
import { Child, killAll } from '../faults/support/child.ts'
import { readValues, SMALL, sleep, text, until } from './support/engine.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-read-only-'))
let directories = 0
afterEach(killAll)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const CONFIG = JSON.stringify(SMALL)
const numbers = (from: number, end: number): number[] => Array.from({ length: end - from }, (_, i) => from + i)

/** The process that owns a directory. */
class Owner {
  readonly #child: Child
  #nextId = 1

  private constructor(directory: string) {
    this.#child = new Child('../../client/programs/owner.ts', { directory })
  }

  static async start(directory: string): Promise<Owner> {
    const owner = new Owner(directory)
    await owner.#child.line(/^ready$/)
    return owner
  }

  async do(...words: (string | number)[]): Promise<void> {
    const id = this.#nextId++
    this.#child.tell([id, ...words].join(' '))
    const line = await this.#child.line(new RegExp(`^(done|failed) ${id}\\b`))
    if (line.startsWith('failed')) throw new Error(line)
  }

  async close(): Promise<void> {
    await this.do('close')
    expect(await this.#child.exit()).toMatchObject({ code: 0 })
  }

  async kill(): Promise<void> {
    await this.#child.kill()
  }
}

/** A directory whose owner has made topic `t` with 60 records in two partitions. */
async function owned(): Promise<{ directory: string; owner: Owner }> {
  const directory = join(root, `d${directories++}`)
  const owner = await Owner.start(directory)
  await owner.do('create', 't', 2, CONFIG)
  await owner.do('append', 't', 0, 60, 500)
  return { directory, owner }
}

const look = (directory: string): Promise<Millrace> => Millrace.open(directory, { readOnly: true })

/** Values of `t`, sorted. */
async function valuesOf(engine: Millrace): Promise<number[]> {
  return (await readValues(engine, 't'))
    .flat()
    .map(Number)
    .sort((a, b) => a - b)
}

/** Every file with its content and its times, but for LMDB's table of readers, which holds nothing else. */
function pictureOf(directory: string): Record<string, string> {
  const picture: Record<string, string> = {}
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.name === 'lock.mdb') continue
    const path = join(entry.parentPath, entry.name)
    const { mtimeMs, size, ino } = statSync(path)
    const hash = entry.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : ''
    picture[path.slice(directory.length)] = `${ino} ${size} ${mtimeMs} ${hash}`
  }
  return picture
}

/** Follows `t` in the background, remembering every record and the error that ended it. */
function follow(engine: Millrace): { records: ConsumedRecord[]; error: () => unknown; stop: () => Promise<void> } {
  const abort = new AbortController()
  const records: ConsumedRecord[] = []
  let error: unknown
  const done = (async () => {
    const reader = engine.reader({ topic: 't', to: 'never', signal: abort.signal })
    for await (const record of reader.records()) records.push(record)
  })().catch((thrown: unknown) => {
    error = thrown
  })
  const stop = async (): Promise<void> => {
    abort.abort()
    await done
  }
  return { records, error: () => error, stop }
}

const seen = ({ records }: { records: readonly ConsumedRecord[] }): number[] =>
  records.map(({ value }) => Number(text(value))).sort((a, b) => a - b)

describe('beside a live owner', () => {
  test('sees records, look-ups and new topics as soon as they are there', async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    expect(await engine.admin.listTopics()).toEqual(['t'])
    expect(await valuesOf(engine)).toEqual(numbers(0, 60))
    using lookup = await engine.lookup('t')
    expect([lookup.latest(0), lookup.latest(1)]).toEqual([30, 30])
    await owner.do('append', 't', 60, 20, 500)
    expect(await valuesOf(engine)).toEqual(numbers(0, 80))
    expect([lookup.latest(0), Number(text(lookup.byOffset(0, 35)?.value))]).toEqual([40, 70])
    expect(lookup.byTimestamp(1, 1_070)?.offset).toBe(35)
    expect(lookup.maxTimestamp(1)).toEqual({ offset: 39, timestamp: 1_079 })
    await owner.do('create', 'u')
    expect(await engine.admin.listTopics()).toEqual(['t', 'u'])
    await owner.do('append', 'u', 0, 3)
    expect((await readValues(engine, 'u')).flat()).toEqual(['0', '1', '2'])
    await owner.do('grow', 'u', 2)
    await owner.do('append', 'u', 3, 1)
    expect(await readValues(engine, 'u')).toEqual([['0', '1', '2'], ['3']])
    await owner.do('delete', 'u')
    await expect(readValues(engine, 'u')).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await owner.close()
  })

  test('follows the tail, rolls and deletions included, and describes what it sees', async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    const following = follow(engine)
    for (let from = 60; from < 260; from += 50) {
      await owner.do('append', 't', from, 50, 500)
      await until(() => following.records.length === from + 50, `${from + 50} records`)
      await owner.do('trim', 't', 0, from / 2)
    }
    expect(seen(following)).toEqual(numbers(0, 260))
    const { partitions, config } = await engine.admin.describeTopic('t')
    expect(partitions[0]).toMatchObject({ logStartOffset: 105, logEndOffset: 130, highWatermark: 130 })
    expect(config['segment.bytes']).toBe('16384')
    await following.stop()
    expect(following.error()).toBe(undefined)
    await owner.close()
  })

  test('every call that writes is refused', async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    const { admin } = engine
    const readOnly = { code: 'READ_ONLY', details: { directory } }
    for (const call of [
      () => admin.createTopic({ topic: 'x' }),
      () => admin.createPartitions('t', 3),
      () => admin.alterConfig('t', { 'retention.ms': 1 }),
      () => admin.deleteTopic('t'),
      () => admin.deleteRecords('t', 0, 1),
      () => admin.applyRetention(),
      () => engine.producer(),
      () => engine.schemas.register('s', '"int"'),
      () => engine.schemas.setCompatibility('NONE'),
      () => engine.schemas.deleteVersion('s', 1),
      () => engine.schemas.deleteSubject('s'),
      async () => engine.threadHandle(),
      async () => engine.on('warning', () => undefined),
    ] as (() => Promise<unknown>)[]) {
      await expect(call(), String(call)).rejects.toMatchObject(readOnly)
    }
    expect(await valuesOf(engine)).toEqual(numbers(0, 60))
    await owner.close()
  })

  test('schemas are looked up and checked as the owner registers them', async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    expect(await engine.schemas.subjects()).toEqual([])
    await owner.do('register', 's', '"int"')
    await owner.do('compatibility', 'FULL', 's')
    expect(await engine.schemas.latest('s')).toEqual({ id: 1, subject: 's', version: 1, text: '"int"' })
    expect(await engine.schemas.check('s', '"long"')).toMatchObject({ isCompatible: false, compatibility: 'FULL' })
    expect((await engine.schemas.lookup())(1)).toMatchObject({ text: '"int"' })
    await owner.do('forget', 's')
    expect(await engine.schemas.list()).toEqual([])
    expect(await engine.schemas.get(1)).toMatchObject({ subject: 's', version: 1 })
    await owner.close()
  })

  test('many may look, and may come and go', async () => {
    const { directory, owner } = await owned()
    for (let round = 0; round < 4; round++) {
      const engines = await Promise.all([look(directory), look(directory)])
      for (const engine of engines) expect(await valuesOf(engine)).toEqual(numbers(0, 60))
      await Promise.all(engines.map(engine => engine.close()))
    }
    await owner.close()
  })
})

describe('when the directory changes hands', () => {
  test('a follower goes on over clean restarts', { timeout: 60_000 }, async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    const following = follow(engine)
    let current = owner
    let count = 60
    for (let restart = 0; restart < 2; restart++) {
      await current.do('append', 't', count, 20, 500)
      await current.close() // the follower may not have seen all of it yet
      current = await Owner.start(directory)
      await current.do('append', 't', count + 20, 20, 500)
      count += 40
      await until(() => following.records.length === count, `${count} records, not ${following.error()}`)
    }
    await current.close()
    await following.stop()
    expect(following.error()).toBe(undefined)
    expect(seen(following)).toEqual(numbers(0, count))
    expect(await valuesOf(engine)).toEqual(numbers(0, count))
  })

  test('a follower goes on when the owner is killed and another comes', { timeout: 60_000 }, async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    using lookup = await engine.lookup('t')
    const following = follow(engine)
    await until(() => following.records.length === 60, 'the first records')
    await owner.do('append', 't', 60, 10, 500)
    await owner.kill()
    await until(() => following.records.length === 70, 'records that the dead owner acknowledged')
    await sleep(150) // long enough to notice
    expect(await valuesOf(engine)).toEqual(numbers(0, 70))
    expect(lookup.latest(0)).toBe(35)
    const next = await Owner.start(directory)
    await next.do('append', 't', 70, 30, 500)
    await until(() => following.records.length === 100, `all records, not ${following.error()}`)
    expect(seen(following)).toEqual(numbers(0, 100))
    await until(() => lookup.latest(0) === 50, 'look-ups see the new owner')
    await next.close()
    await following.stop()
    expect(following.error()).toBe(undefined)
  })

  test('look-ups say that it is in between, at most', { timeout: 60_000 }, async () => {
    const { directory, owner } = await owned()
    await using engine = await look(directory)
    using lookup = await engine.lookup('t')
    const codes = new Set<string>()
    let stop = false
    const looking = (async () => {
      while (!stop) {
        try {
          expect(Number(text(lookup.byOffset(1, 29)?.value))).toBe(59)
        } catch (error) {
          if (!isMillraceError(error)) throw error
          codes.add(error.code)
        }
        await sleep(1)
      }
    })()
    await owner.close()
    const next = await Owner.start(directory)
    await sleep(150)
    stop = true
    await looking
    expect([...codes].filter(code => code !== 'TIMED_OUT')).toEqual([])
    expect(Number(text(lookup.byOffset(1, 29)?.value))).toBe(59)
    await next.close()
  })
})

describe('without an owner', () => {
  test('after a clean close everything is there and nothing is changed', async () => {
    const { directory, owner } = await owned()
    await owner.do('trim', 't', 1, 3)
    await owner.close()
    const before = pictureOf(directory)
    const engine = await look(directory)
    const expected = numbers(0, 60).filter(i => i % 2 === 0 || i >= 6)
    expect(await valuesOf(engine)).toEqual(expected)
    using lookup = await engine.lookup('t')
    expect([lookup.earliest(1), lookup.latest(1), lookup.byTimestamp(1, 1_030)?.offset]).toEqual([3, 30, 15])
    expect((await engine.admin.describeTopic('t')).partitions.map(({ highWatermark }) => highWatermark)).toEqual([
      30, 30,
    ])
    await engine.close()
    expect(pictureOf(directory)).toEqual(before)
  })

  test('after a crash what was acknowledged is there, and nothing is changed', async () => {
    const { directory, owner } = await owned()
    await owner.kill()
    const before = pictureOf(directory)
    const engine = await look(directory)
    expect(await valuesOf(engine)).toEqual(numbers(0, 60))
    using lookup = await engine.lookup('t')
    for (const offset of numbers(0, 30)) {
      expect(Number(text(lookup.byOffset(0, offset)?.value))).toBe(offset * 2)
      expect(lookup.byTimestamp(0, 1_000 + offset * 2)?.offset).toBe(offset)
    }
    await engine.close()
    expect(pictureOf(directory)).toEqual(before)
  })

  test('a topic whose folders a crash has kept from being made is empty', async () => {
    const { directory, owner } = await owned()
    await owner.do('create', 'late', 2)
    await owner.kill()
    for (const partition of [0, 1]) rmSync(join(directory, `late-${partition}`), { recursive: true })
    await using engine = await look(directory)
    expect(await readValues(engine, 'late')).toEqual([[], []])
    expect(await valuesOf(engine)).toEqual(numbers(0, 60))
  })

  test('an owner that came and went while nobody looked is noticed', async () => {
    const { directory, owner } = await owned()
    await owner.close()
    await using engine = await look(directory)
    for (let round = 0; round < 2; round++) {
      expect(await valuesOf(engine)).toEqual(numbers(0, 60 + 10 * round))
      const next = await Owner.start(directory)
      await next.do('append', 't', 60 + 10 * round, 10, 500)
      await next.close()
    }
    expect(await valuesOf(engine)).toEqual(numbers(0, 80))
  })

  test('where there is no directory there is nothing to look at, and none is made', async () => {
    const directory = join(root, 'nowhere')
    await expect(look(directory)).rejects.toMatchObject({ code: 'DIRECTORY_NOT_FOUND' })
    expect(readdirSync(root)).not.toContain('nowhere')
    await expect(look(root)).rejects.toMatchObject({ code: 'DIRECTORY_NOT_FOUND' }) // a folder of something else
  })

  test('closed it answers nothing more', async () => {
    const { directory, owner } = await owned()
    await owner.close()
    const engine = await look(directory)
    const lookup = await engine.lookup('t')
    const kept = lookup.byOffset(0, 0)
    await engine.close()
    await engine.close()
    await expect(engine.admin.listTopics()).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(engine.lookup('t')).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(valuesOf(engine)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(() => lookup.byOffset(0, 0)).toThrow('CLOSED')
    expect(Number(text(kept?.value))).toBe(0)
  })
})
