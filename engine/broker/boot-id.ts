/** Which boot of the machine this is: what a process acknowledged in another boot may not have reached the disk. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Identity of this boot of the machine. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return randomUUID() // no such file on this system: then every process counts as a boot of its own
  }
}
