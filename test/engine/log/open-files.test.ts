import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { type FileUser, OpenFiles } from '../../../engine/log/open-files.ts'
import { SYNC_TOGETHER_MIN, syncFiles } from '../../../engine/log/sync-files.ts'
import { SLOT } from '../../../engine/memory/control-block.ts'
import { PartitionFixture } from './partition-fixture.ts'

const directories: string[] = []
const files: number[] = []
afterEach(() => {
  for (const fd of files.splice(0)) closeSync(fd)
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-open-files-'))
  directories.push(path)
  return path
}

function written(): number {
  const fd = openSync(join(directory(), 'file'), 'w')
  writeSync(fd, 'x')
  files.push(fd)
  return fd
}

/** A descriptor that every flush of fails. */
function unflushable(): number {
  const fd = openSync('/dev/null', 'r+')
  files.push(fd)
  return fd
}

class User implements FileUser {
  fd: number
  mayRest = true
  isDirty = false
  readonly rests: unknown[] = []

  constructor(fd = 1_000_000) {
    this.fd = fd
  }

  restFile(error: unknown): void {
    this.fd = -1
    this.rests.push(error)
  }
}

describe('which descriptors rest', () => {
  test('none up to the limit, then the one that was used least recently', () => {
    const open = new OpenFiles(3)
    const [a, b, c, d] = [new User(), new User(), new User(), new User()] as const
    for (const user of [a, b, c, a]) open.use(user)
    expect([a, b, c].map(({ rests }) => rests.length)).toEqual([0, 0, 0])
    open.use(d)
    expect([a, b, c, d].map(({ rests }) => rests.length)).toEqual([0, 1, 0, 0])
  })

  test('one that is at work stays, and counts as used', () => {
    const open = new OpenFiles(2)
    const users = [new User(), new User(), new User(), new User()] as const
    users[0].mayRest = false
    for (const user of users) open.use(user)
    expect(users.map(({ fd }) => fd === -1)).toEqual([false, true, false, false])
    users[0].mayRest = true
    open.use(users[1])
    expect(users.map(({ fd }) => fd === -1)[2]).toBe(true)
  })

  test('one that was forgotten is not closed', () => {
    const open = new OpenFiles(1)
    const [a, b] = [new User(), new User()]
    open.use(a as User)
    open.forget(a as User)
    open.use(b as User)
    expect(a?.rests).toEqual([])
  })

  test('with many a quarter rests at once', () => {
    const open = new OpenFiles(64)
    const users = Array.from({ length: 65 }, () => new User())
    for (const user of users) open.use(user)
    expect(users.filter(({ rests }) => rests.length === 1)).toEqual(users.slice(0, 16))
  })

  test('what is not flushed is flushed first, and its user is told what that said', () => {
    const open = new OpenFiles(1)
    const [good, bad, clean, last] = [new User(written()), new User(unflushable()), new User(unflushable()), new User()]
    for (const user of [good, bad]) (user as User).isDirty = true
    for (const user of [good, bad, clean, last]) open.use(user as User)
    expect(good?.rests).toEqual([undefined])
    expect(bad?.rests).toEqual([expect.objectContaining({ code: 'EINVAL' })])
    expect(clean?.rests).toEqual([undefined]) // nothing was to be flushed
  })
})

test.each([
  ['one by one', 4],
  ['together', SYNC_TOGETHER_MIN],
])('files are synced %s, and each has an answer of its own', (_, count) => {
  const fds = Array.from({ length: count }, (_unused, index) => (index === 2 ? unflushable() : written()))
  const errors = syncFiles(fds)
  expect(errors.map(error => error !== undefined)).toEqual(fds.map((_fd, index) => index === 2))
  expect(syncFiles([...fds.slice(0, 2), -1])[2]).toBeInstanceOf(Error)
})

describe('a log whose descriptor rests', () => {
  /** Two partitions with one descriptor. Their segments are found through what they tell `OpenFiles`. */
  function two(): { first: PartitionFixture; second: PartitionFixture; segments: (FileUser & { fd: number })[] } {
    const segments: (FileUser & { fd: number })[] = []
    class Watched extends OpenFiles {
      override use(user: FileUser): void {
        if (!segments.includes(user)) segments.push(user)
        super.use(user)
      }
    }
    const open = new Watched(1)
    const first = new PartitionFixture(directory(), { files: open })
    const second = new PartitionFixture(directory(), { files: open })
    return { first, second, segments }
  }

  const value = (text: string) => [{ timestamp: 1, key: null, value: Buffer.from(text) }]

  test('opens it again before the next store; the slot names what is open', () => {
    const { first, second } = two()
    first.append(value('a'))
    expect(first.word('activeFd')).toBeGreaterThan(0)
    second.append(value('b'))
    expect(first.word('activeFd')).toBe(0)
    expect(first.word('activeAddress')).not.toBe(0)
    first.append(value('c'))
    expect([first.word('activeFd') > 0, second.word('activeFd')]).toEqual([true, 0])
    expect(first.log.logEndOffset).toBe(2)
    first.check()
    second.check()
  })

  test('keeps it while a flush is under way', () => {
    const { first, second } = two()
    first.append(value('a'))
    first.services.inline = false
    first.log.flush()
    second.append(value('b'))
    expect(first.word('activeFd')).toBeGreaterThan(0)
    first.services.answerAll()
  })

  test('with an error takes nothing more, and demands the flush that fails', () => {
    const { first, second, segments } = two()
    first.append(value('a'))
    closeSync((segments[0] as FileUser).fd)
    ;(segments[0] as { fd: number }).fd = openSync('/dev/null', 'r+')
    expect(first.log.flushOverdue()).toBe(false)
    second.append(value('b'))
    expect(first.memory.control.get(first.slot, SLOT.activeFd)).toBe(0)
    expect(first.log.flushOverdue()).toBe(true)
    expect(() => first.append(value('c'))).toThrow(expect.objectContaining({ code: 'IO_ERROR' }))
    expect(first.log.logEndOffset).toBe(1)
    let flushedFd: number | undefined
    first.services.flush = (_slot, fd) => {
      flushedFd = fd
    }
    first.log.flush()
    expect(flushedFd).toBe(-1)
  })
})
