/**
 * What stands in front of a broker and is slow: a proxy that passes on what comes over a connection after a time that is drawn anew for each piece, in
 * order, in both directions. Brokers and clients reach the broker through it.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../../../bench/cluster/broker-processes.ts'
import type { Random } from '../../../engine/base/random.ts'

export class SlowLink {
  /** Delays are drawn from here, in milliseconds; [0, 0] passes everything on at once. */
  delayMs: readonly [least: number, most: number] = [0, 0]
  /** Pieces that were held back. */
  pieces = 0
  readonly #random: Random
  readonly #target: Address
  readonly #sockets = new Set<Socket>()
  readonly #server: Server

  private constructor(target: Address, random: Random) {
    this.#target = target
    this.#random = random
    this.#server = createServer(near => this.#join(near))
  }

  static async open(target: Address, random: Random): Promise<SlowLink> {
    const link = new SlowLink(target, random)
    await new Promise<void>(resolve => link.#server.listen(0, '127.0.0.1', resolve))
    return link
  }

  get address(): Address {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return { host: '127.0.0.1', port: address.port }
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(near: Socket): void {
    const far = connect({ ...this.#target, noDelay: true })
    near.setNoDelay(true)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => {}) // its end is told next
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      this.#pass(from, to)
    }
  }

  #pass(from: Socket, to: Socket): void {
    let passed: Promise<unknown> = Promise.resolve()
    from.on('data', piece => {
      const [least, most] = this.delayMs
      if (most > 0) this.pieces += 1
      const dueMs = performance.now() + this.#random.between(least, most)
      // Behind the last piece, whatever time that was given.
      passed = passed.then(() => sleep(Math.max(0, dueMs - performance.now()))).then(() => to.write(piece))
    })
  }
}
