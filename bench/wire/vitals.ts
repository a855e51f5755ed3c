/** Processor time and memory of another process. Linux. */
import { readFileSync } from 'node:fs'

/** Of the clock in which the kernel counts processor time; the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100
const KIB = 1024

export interface Memory {
  /** Heaps and stacks. */
  readonly anonymousBytes: number
  readonly sharedBytes: number
  /** Pages of mapped files, which the kernel takes back when it needs them. */
  readonly fileBytes: number
}

/** Seconds of processor time, user and system, of a process so far. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from the third field on
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const bytes = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * KIB
  return { anonymousBytes: bytes('RssAnon'), sharedBytes: bytes('RssShmem'), fileBytes: bytes('RssFile') }
}
