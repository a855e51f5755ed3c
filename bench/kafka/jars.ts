/**
 * Apache Kafka's jars, as `bench/kafka/pom.xml` names them: fetched by Maven once and kept below `node_modules/.cache`, in a
 * folder for each state of that file. A lock keeps two processes from fetching at the same time.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isMillraceError } from '../../engine/base/errors.ts'
import { DirectoryLock } from '../../engine/broker/directory-lock.ts'
import { run } from './process.ts'

const POM = fileURLToPath(new URL('pom.xml', import.meta.url))
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/kafka', import.meta.url))
const LIBRARY = join(CACHE, createHash('sha256').update(readFileSync(POM)).digest('hex').slice(0, 16))

const JAVA_LEAST = 17

/** A first fetch of 44 MB takes 20 s over a good line. */
export const FETCH_TIMEOUT_MS = 300_000

const hasCommand = (name: string): boolean => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0

/** Why Kafka's tools cannot run on this machine; undefined when they can. */
export function whyNoKafka(): string | undefined {
  if (!hasCommand('javac')) return 'there is no JDK'
  const version = /version "(\d+)/.exec(spawnSync('java', ['-version'], { encoding: 'utf8' }).stderr)?.[1]
  if (Number(version) < JAVA_LEAST) return `java is of version ${version}, and Kafka needs ${JAVA_LEAST}`
  return existsSync(LIBRARY) || hasCommand('mvn') ? undefined : 'there is no mvn to fetch its jars with'
}

/** The class path; what is not there is fetched. @throws when Maven cannot fetch it: that is a failure and no reason to skip */
export async function kafkaClassPath(): Promise<string> {
  if (!existsSync(LIBRARY)) await fetchOnce()
  return join(LIBRARY, '*')
}

async function fetchOnce(): Promise<void> {
  const lock = await takeLock(performance.now() + FETCH_TIMEOUT_MS)
  try {
    if (existsSync(LIBRARY)) return
    const half = `${LIBRARY}.half`
    rmSync(half, { recursive: true, force: true })
    const goals = ['dependency:copy-dependencies', `-DoutputDirectory=${half}`, '-DincludeScope=runtime']
    const { code, output } = await run('mvn', ['-q', '-B', '-f', POM, ...goals], { timeoutMs: FETCH_TIMEOUT_MS })
    if (code !== 0) throw new Error(`mvn ended with ${code}\n${output.slice(-4_000)}`)
    renameSync(half, LIBRARY)
  } finally {
    lock.release()
  }
}

async function takeLock(deadlineMs: number): Promise<DirectoryLock> {
  for (;;) {
    try {
      return DirectoryLock.take(CACHE)
    } catch (error) {
      if (!isMillraceError(error, 'DIRECTORY_LOCKED') || performance.now() > deadlineMs) throw error
      await setTimeout(200)
    }
  }
}
