/** One owner at a time, in this process and in others; the kernel takes the lock back however a process ends. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { DirectoryLock } from '../../../engine/broker/directory-lock.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-lock-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('it is held until it is released, and may be released twice', () => {
  const directory = join(root, 'new', 'folder')
  expect(DirectoryLock.isHeld(directory)).toBe(false)
  const lock = DirectoryLock.take(directory)
  expect(DirectoryLock.isHeld(directory)).toBe(true)
  expect(() => DirectoryLock.take(directory)).toThrow(
    expect.objectContaining({ code: 'DIRECTORY_LOCKED', details: { directory }, retriable: true }),
  )
  expect(DirectoryLock.isHeld(directory)).toBe(true) // the refused try took nothing away
  lock.release()
  lock.release()
  expect(DirectoryLock.isHeld(directory)).toBe(false)
  DirectoryLock.take(directory).release()
})

test('asking who owns a directory does not keep the owner out', () => {
  const directory = join(root, 'asked')
  for (let i = 0; i < 200; i++) {
    const lock = DirectoryLock.take(directory)
    expect(DirectoryLock.isHeld(directory)).toBe(true)
    lock.release()
    expect(DirectoryLock.isHeld(directory)).toBe(false)
  }
})

test('of another process, gone with it when it is killed', async () => {
  const directory = join(root, 'killed')
  const module = new URL('../../../engine/broker/directory-lock.ts', import.meta.url).href
  const program = `
    import { DirectoryLock } from ${JSON.stringify(module)}
    DirectoryLock.take(${JSON.stringify(directory)})
    console.log('taken')
    setInterval(() => undefined, 1_000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await new Promise(resolve => child.stdout.once('data', resolve))
    expect(DirectoryLock.isHeld(directory)).toBe(true)
    expect(() => DirectoryLock.take(directory)).toThrow('DIRECTORY_LOCKED')
  } finally {
    child.kill('SIGKILL')
    await new Promise(resolve => child.once('exit', resolve))
  }
  expect(DirectoryLock.isHeld(directory)).toBe(false)
  DirectoryLock.take(directory).release()
})

test('a folder that cannot be made is IO_ERROR with its path', () => {
  const file = join(root, 'file')
  writeFileSync(file, '')
  const directory = join(file, 'below')
  const failed = expect.objectContaining({ code: 'IO_ERROR', details: { directory } })
  expect(() => DirectoryLock.take(directory)).toThrow(failed)
  chmodSync(file, 0o600)
})
