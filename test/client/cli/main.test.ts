/** What only shows in processes of their own: exit codes, pipes, signals, and reading beside an owner that is another process. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { Child, CommandLine, jsonLines, temporaryFolder, WAIT_MS } from './support/cli.ts'

const folder = temporaryFolder()
const directory = join(folder, 'data')
const LINES = 50_000

let engine: Millrace
beforeAll(async () => {
  engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
  await engine.admin.createTopic({ topic: 'many' })
  await engine.admin.createTopic({ topic: 'live', partitions: 2 })
  await using producer = await engine.producer()
  const messages = Array.from({ length: LINES }, (_, i) => ({ value: `line ${i}` }))
  await producer.send({ topic: 'many', messages })
  return () => engine.close()
}, WAIT_MS)

async function append(...values: string[]): Promise<void> {
  await using producer = await engine.producer()
  for (const [partition, value] of values.entries()) {
    await producer.send({ topic: 'live', messages: [{ value, partition: partition % 2 }] })
  }
}

describe('beside a service', () => {
  test('reading works, changing does not, and the exit codes say so', { timeout: WAIT_MS }, async () => {
    const env = { ...process.env, MILLRACE_DIR: directory }
    const run = (...args: string[]) => new Child(args, { env }).finish('x\n')
    const [consumed, verified, ends, refused] = await Promise.all([
      run('consume', 'many', '--from', '-2', '--json'),
      run('verify', '--json'),
      run('lookup', 'many', '--json'),
      run('produce', 'many'),
    ])
    expect([consumed.exitCode, consumed.stderr]).toEqual([0, ''])
    expect(jsonLines(consumed.stdout)).toMatchObject([{ value: `line ${LINES - 2}` }, { value: `line ${LINES - 1}` }])
    expect([verified.exitCode, verified.stderr]).toEqual([0, ''])
    expect(JSON.parse(verified.stdout)).toMatchObject({ state: 'owned', records: LINES, findings: [] })
    expect(JSON.parse(ends.stdout)).toMatchObject([{ earliest: 0, latest: LINES }])
    expect([refused.exitCode, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toMatch(
      /^millrace: .*\[DIRECTORY_LOCKED directory=.*\]\n {2}A service has it open\. .*consume/,
    )
  })

  test('a reader that goes away ends it without a word', { timeout: WAIT_MS }, async () => {
    const child = new Child(['--dir', directory, 'consume', 'many'])
    await child.until('line 0\n')
    child.process.stdout?.destroy()
    expect(await child.ended).toEqual({ exitCode: 0, signal: null })
    expect(child.stderr).toBe('')
    expect(child.stdout.length).toBeLessThan(LINES * 10)
  })

  test('consume --follow goes on until it is interrupted', { timeout: WAIT_MS }, async () => {
    await append('early')
    const child = new Child(['--dir', directory, 'consume', 'live', '--follow', '-f', '%p:%v\\n'])
    await child.until('0:early\n')
    await append('a', 'b', 'c')
    for (const line of ['0:a\n', '1:b\n', '0:c\n']) await child.until(line)
    child.process.kill('SIGINT')
    expect(await child.ended).toEqual({ exitCode: 0, signal: null })
    expect(child.stderr).toBe('')
    expect(child.stdout.split('\n').sort()).toEqual(['', '0:a', '0:c', '0:early', '1:b'])
  })

  test('consume --follow ends with -n, or with --to', { timeout: WAIT_MS }, async () => {
    const args = ['--dir', directory, 'consume', 'live', '-F', '-p', '1']
    const [number, to] = [
      new Child([...args, '--from', 'end', '-n', '2']),
      new Child([...args, '--from', '0', '--to', '3']),
    ]
    await to.until('b\n')
    for (const ended = number.ended.then(() => true); ; ) {
      await append('', 'more')
      if (await Promise.race([ended, new Promise(resolve => setTimeout(resolve, 50))])) break
    }
    expect(await number.ended).toEqual({ exitCode: 0, signal: null })
    expect(number.stdout).toBe('more\nmore\n')
    expect(await to.ended).toEqual({ exitCode: 0, signal: null })
    expect(to.stdout).toBe('b\nmore\nmore\n')
  })
})

describe('by itself', () => {
  const own = new CommandLine(join(folder, 'own'))

  test('produce from a pipe that stays open, until it is interrupted', { timeout: WAIT_MS }, async () => {
    await own.out(['topics', 'create', 't'])
    const child = new Child(['--dir', own.directory, 'produce', 't'])
    child.process.stdin?.write('one\ntwo\nhal')
    const follow = new Child(['--dir', own.directory, 'consume', 't', '--follow'])
    await follow.until('two\n')
    child.process.kill('SIGTERM')
    expect(await child.ended).toEqual({ exitCode: 143, signal: null })
    expect(child.stderr).toBe('2 records to t\n')
    expect(await own.json(['produce', 't'], { input: 'three\n' })).toMatchObject({ count: 1 })
    await follow.until('three\n') // under another owner
    follow.process.kill('SIGINT')
    await follow.ended
    expect(follow.stdout).toBe('one\ntwo\nthree\n')
  })

  test('help and wrong usage', async () => {
    const help = await own.run(['--help'])
    expect([help.exitCode, help.stderr]).toEqual([0, ''])
    expect(help.stdout).toMatch(/^Usage: millrace [\s\S]*Examples:[\s\S]*Exit codes: 0 done, 1 failed/)
    expect(await own.run(['--version'])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    })
    for (const args of [[], ['topics'], ['nonsense'], ['topics', 'nonsense'], ['consume', 't', '--nonsense']]) {
      const { exitCode, stdout, stderr } = await own.run(args)
      expect([exitCode, stdout], args.join(' ')).toEqual([2, ''])
      expect(stderr).toMatch(/^Usage: |^millrace: .*\n\(add --help for help\)\n$/)
    }
    const env: NodeJS.ProcessEnv = { ...process.env }
    delete env['MILLRACE_DIR']
    const nowhere = await new Child(['topics', 'list'], { env }).finish()
    expect(nowhere).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/--dir DIRECTORY, or in the variable MILLRACE_DIR/),
    })
  })
})
