/**
 * Loss of power on a real file system: an ext4 image in a loop device, lying on an XFS that can share blocks between files. A copy of
 * the image by reference, taken in some milliseconds at any moment, is what the disk would hold; mounted, it is the machine
 * after it came back. Data that was synced is there; other writes and stores into mappings are zeros or gone.
 */
import { spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isRoot, type LoopMount, mountImage, needTool, run, temporaryDirectory } from './surroundings.ts'

const HOST_BYTES = 2 * 1024 ** 3
const DISK_BYTES = 400 * 1024 ** 2

export class PowerRig {
  readonly #host: string
  readonly #folder: string
  #mounts = 0
  #disks = 0

  private constructor(folder: string, host: string) {
    this.#folder = folder
    this.#host = host
  }

  /** The rig, or why there can be none here. */
  static create(): PowerRig | string {
    if (!isRoot) return 'loop devices need root'
    const missing = needTool('mkfs.xfs', 'xfsprogs') ?? needTool('mkfs.ext4', 'e2fsprogs')
    if (missing !== undefined) return missing
    const folder = temporaryDirectory('power')
    const image = join(folder, 'host.img')
    makeImage(image, HOST_BYTES)
    const formatted = run('mkfs.xfs', '-q', '-m', 'reflink=1', image)
    if (formatted !== undefined) return formatted
    const host = mountImage(image, join(folder, 'host'))
    return typeof host === 'string' ? host : new PowerRig(folder, host.path)
  }

  /** A new formatted disk, as the path of its image. */
  newDisk(): string {
    const image = join(this.#host, `disk-${this.#disks++}.img`)
    makeImage(image, DISK_BYTES)
    const failed = run('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0', image)
    if (failed !== undefined) throw new Error(failed)
    return image
  }

  /** What a disk holds at this moment, as the path of a new image. */
  snapshot(image: string): string {
    const copy = join(this.#host, `disk-${this.#disks++}.img`)
    const { status, stderr } = spawnSync('cp', ['--reflink=always', image, copy], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    return copy
  }

  /** Mounts a disk; the kernel writes nothing back by itself for ten minutes. */
  mount(image: string): LoopMount {
    const mounted = mountImage(image, join(this.#folder, `mount-${this.#mounts++}`), 'commit=600')
    if (typeof mounted === 'string') throw new Error(mounted)
    return mounted
  }
}

function makeImage(path: string, bytes: number): void {
  writeFileSync(path, '')
  truncateSync(path, bytes)
}
