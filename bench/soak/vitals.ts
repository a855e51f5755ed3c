/** Anonymous memory and open descriptors of this process over a run, and whether they stayed flat. Linux; main thread. */
import { readdirSync, readFileSync } from 'node:fs'

const MIB = 1024 * 1024

export interface Vitals {
  readonly anonymousBytes: number
  readonly descriptors: number
}

/** Both may move by this much and still be called flat: heaps breathe, segments come and go. */
const GROWTH_BYTES_MAX = 48 * MIB
const DESCRIPTORS_MAX = 16
/** Fewer samples say nothing. */
const SAMPLES_MIN = 12

export function readVitals(): Vitals {
  const kib = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return { anonymousBytes: Number(kib) * 1024, descriptors: readdirSync('/proc/self/fd').length }
}

export interface Flatness {
  readonly first: Vitals
  readonly last: Vitals
  /** Undefined when there were too few samples. */
  readonly fault: string | undefined
}

/**
 * Compares the second quarter of a run with its last: the first warms up. Medians, so that the moment of a sample does not
 * decide.
 */
export function flatness(samples: readonly Vitals[]): Flatness {
  const quarter = Math.floor(samples.length / 4)
  const first = medians(samples.slice(quarter, 2 * quarter))
  const last = medians(samples.slice(samples.length - quarter))
  if (samples.length < SAMPLES_MIN) return { first, last, fault: undefined }
  const grownBytes = last.anonymousBytes - first.anonymousBytes
  const opened = last.descriptors - first.descriptors
  let fault: string | undefined
  if (grownBytes > GROWTH_BYTES_MAX) fault = `anonymous memory grew by ${Math.round(grownBytes / MIB)} MiB`
  else if (opened > DESCRIPTORS_MAX) fault = `${opened} more descriptors are open`
  return { first, last, fault }
}

function medians(samples: readonly Vitals[]): Vitals {
  const middle = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0
  return {
    anonymousBytes: middle(samples.map(({ anonymousBytes }) => anonymousBytes)),
    descriptors: middle(samples.map(({ descriptors }) => descriptors)),
  }
}
