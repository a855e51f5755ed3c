/**
 * Keeps the main thread and the other threads of this process on different cores while latencies are measured. The kernel
 * places two threads that wake each other on one core or on two by chance, and stays with it: a round trip is then about
 * 7 µs or 48 µs in the same program, and a ratio of two such numbers would be a toss of a coin. Linux; elsewhere a no-op.
 */
import { readdirSync } from 'node:fs'
import koffi from 'koffi'
import type { Side } from './side.ts'

/** Bytes of an affinity mask: 1024 cores, the size of `cpu_set_t`. */
const MASK_BYTES = 128

const isLinux = process.platform === 'linux'
const libc = isLinux ? koffi.load(null) : undefined
const setAffinity = libc?.func('int sched_setaffinity(int tid, size_t bytes, void *mask)')
const getAffinity = libc?.func('int sched_getaffinity(int tid, size_t bytes, _Out_ void *mask)')

/** Cores that this process may use, as it was when the process started; empty where that is not known. */
const allowed = readAllowed()

function readAllowed(): number[] {
  const mask = new Uint8Array(MASK_BYTES)
  if (getAffinity === undefined || getAffinity(0, MASK_BYTES, mask) < 0) return []
  return Array.from({ length: MASK_BYTES * 8 }, (_, core) => core).filter(core => isSet(mask, core))
}

function isSet(mask: Uint8Array, core: number): boolean {
  return (((mask[core >> 3] as number) >> (core & 7)) & 1) === 1
}

function maskOf(cores: readonly number[]): Uint8Array {
  const mask = new Uint8Array(MASK_BYTES)
  for (const core of cores) mask[core >> 3] = (mask[core >> 3] as number) | (1 << (core & 7))
  return mask
}

/** True where threads can be kept apart: two cores at least, on Linux. */
export const canPlaceApart = allowed.length >= 2

/** Puts the main thread on the first core and every other thread of the process on the rest. Main thread only. */
export function placeApart(): void {
  if (canPlaceApart) place(maskOf(allowed.slice(0, 1)), maskOf(allowed.slice(1)))
}

/** Lets every thread run anywhere again. */
export function placeAnywhere(): void {
  if (canPlaceApart) place(maskOf(allowed), maskOf(allowed))
}

function place(main: Uint8Array, others: Uint8Array): void {
  for (const tid of readdirSync('/proc/self/task').map(Number)) {
    // A thread may end between the listing and the call; there is nothing to place then.
    setAffinity?.(tid, MASK_BYTES, tid === process.pid ? main : others)
  }
}

/** The side with its threads kept apart during every round; those that exist when the round is prepared. */
export function apart(side: Side): Side {
  return {
    work: side.work,
    async prepare() {
      await side.prepare?.()
      placeApart()
    },
    round: () => side.round(),
    async close() {
      placeAnywhere()
      await side.close?.()
    },
  }
}
