/**
 * The package as it is published: compiled by the build's own configuration, imported by its name through the subpath
 * exports, with worker threads that start from the compiled entry points.
 */
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const project = fileURLToPath(new URL('../..', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'millrace-dist-'))
const packageFolder = join(root, 'node_modules', 'millrace')
afterAll(() => rmSync(root, { recursive: true, force: true }))

interface PackageJson {
  readonly version: string
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly files: readonly string[]
  readonly bin: Readonly<Record<string, string>>
}
const packageJson = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as PackageJson

/** Where the project's dependencies are installed. */
function modulesFolder(): string {
  for (let folder = project; ; folder = dirname(folder)) {
    const modules = join(folder, 'node_modules')
    if (existsSync(join(modules, 'koffi'))) return modules
    if (folder === dirname(folder)) throw new Error('the dependencies are not installed')
  }
}

beforeAll(() => {
  mkdirSync(packageFolder, { recursive: true })
  const tsc = join(modulesFolder(), 'typescript', 'bin', 'tsc')
  const options = ['-p', join(project, 'tsconfig.build.json'), '--outDir', join(packageFolder, 'dist')]
  const built = spawnSync(process.execPath, [tsc, ...options], { encoding: 'utf8' })
  expect(`${built.stdout}${built.stderr}`).toBe('')
  expect(built.status).toBe(0)
  cpSync(join(project, 'package.json'), join(packageFolder, 'package.json'))
  // Only what the package says that it needs is there.
  for (const name of Object.keys(packageJson.dependencies)) {
    const link = join(root, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(modulesFolder(), name), link)
  }
}, 240_000)

/** Runs a module of a service that depends on the package. */
function run(name: string, source: string): string {
  const path = join(root, name)
  writeFileSync(path, source)
  const env: NodeJS.ProcessEnv = { ...process.env }
  delete env['NODE_OPTIONS']
  const { stdout, stderr, status } = spawnSync(process.execPath, [path], { encoding: 'utf8', timeout: 30_000, env })
  expect(status, `${stdout}\n${stderr}`).toBe(0)
  return stdout.trim()
}

test('every subpath is there, with its types, and no TypeScript file is', () => {
  for (const target of Object.values(packageJson.exports)) {
    for (const path of typeof target === 'string' ? [target] : Object.values(target)) {
      expect(existsSync(join(packageFolder, path)), path).toBe(true)
    }
  }
  const files = readdirSync(join(packageFolder, 'dist'), { recursive: true, encoding: 'utf8' })
  expect(files.filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))).toEqual([])
  for (const entry of ['writer', 'flusher', 'janitor', 'indexer', 'jobs'])
    expect(files).toContain(join('workers', `${entry}.js`))
  expect(files).toContain(join('client', 'cli', 'verify-thread.js'))
  for (const file of files.filter(name => name.endsWith('.js'))) {
    expect(readFileSync(join(packageFolder, 'dist', file), 'utf8'), file).not.toMatch(/from '\.[^']*\.ts'/)
  }
})

test('a service opens a directory, appends, reads, looks up, and reopens it', () => {
  const output = run(
    'service.mjs',
    `
    import { Millrace, avro, isMillraceError } from 'millrace'
    import { encodeBatch, RecordCursor } from 'millrace/format'
    import { ERRORS } from 'millrace/errors'
    const directory = ${JSON.stringify(join(root, 'data'))}
    {
      await using engine = await Millrace.open(directory, { writers: 2, jobThreads: 1 })
      await engine.admin.createTopic({ topic: 't', partitions: 2, config: { 'segment.bytes': 16384 } })
      await using producer = await engine.producer({ compression: 'zstd' })
      for (let i = 0; i < 50; i++) {
        await producer.send({ topic: 't', messages: [{ key: 'k' + i, value: 'v'.repeat(1000) + i }] })
      }
      const appender = await producer.appender('t', 0)
      appender.tryAppendBatch(encodeBatch([{ timestamp: 1, value: Buffer.from('encoded') }]))
      await producer.flush()
    }
    await using engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
    let records = 0
    for await (const record of engine.reader({ topic: 't' }).records()) records += record.value.length > 0 ? 1 : 0
    const lookup = await engine.lookup('t')
    const last = lookup.byOffset(0, lookup.latest(0) - 1)
    const code = await engine.admin.describeTopic('nowhere').catch(error => isMillraceError(error) && error.code)
    console.log(records, Buffer.from(last.value).toString(), code, code in ERRORS, typeof avro, typeof RecordCursor)
    `,
  )
  expect(output).toBe('51 encoded UNKNOWN_TOPIC_OR_PARTITION true function function')
})

test('the command millrace works on that directory', () => {
  const bin = join(packageFolder, packageJson.bin['millrace'] as string)
  expect(readFileSync(bin, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  const env: NodeJS.ProcessEnv = { ...process.env, MILLRACE_DIR: join(root, 'data') }
  delete env['NODE_OPTIONS']
  const millrace = (...args: string[]): string => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [bin, ...args], {
      encoding: 'utf8',
      timeout: 30_000,
      env,
    })
    expect([status, stderr], args.join(' ')).toEqual([0, ''])
    return stdout.trim()
  }
  expect(millrace('--version')).toBe(packageJson.version)
  expect(millrace('consume', 't', '-p', '0', '--from', '-1')).toBe('encoded')
  expect(JSON.parse(millrace('verify', '--json'))).toMatchObject({ state: 'closed', records: 51, findings: [] })
  expect(JSON.parse(millrace('topics', 'create', 'made', '--json'))).toMatchObject({ topic: 'made', created: true })
})

test('producers work in a worker thread of the service', () => {
  const output = run(
    'threads.mjs',
    `
    import { isMainThread, Worker, workerData } from 'node:worker_threads'
    import { attachThread, Millrace } from 'millrace'
    if (isMainThread) {
      await using engine = await Millrace.open(${JSON.stringify(join(root, 'threads'))}, { writers: 1, jobThreads: 1 })
      await engine.admin.createTopic({ topic: 't', config: { 'segment.bytes': 16384 } })
      const handle = engine.threadHandle()
      const worker = new Worker(new URL(import.meta.url), { workerData: handle, transferList: [handle.port] })
      await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
      for await (const { value } of engine.reader({ topic: 't' }).records()) console.log(Buffer.from(value).toString())
    } else {
      await using client = attachThread(workerData)
      await using producer = await client.producer()
      await producer.send({ topic: 't', messages: [{ value: 'from a thread' }] })
    }
    `,
  )
  expect(output).toBe('from a thread')
})

test('what is not exported cannot be imported', () => {
  const output = run(
    'inside.mjs',
    `
    const codes = []
    for (const path of ['millrace/engine/broker/broker.js', 'millrace/dist/client/index.js', 'millrace/client'])
      codes.push(await import(path).then(() => 'imported', error => error.code))
    console.log(codes.join(' '))
    `,
  )
  expect(output).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED ERR_PACKAGE_PATH_NOT_EXPORTED ERR_PACKAGE_PATH_NOT_EXPORTED')
})
