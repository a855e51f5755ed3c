/**
 * A network of namespaces: each host is one, joined by a link of its own to a router that is one too, and so is the test itself. Packets from one host to another can
 * be dropped at the router, all or some of them, one way or both. Needs root, `ip` and `nft`; everything has the process id in its name and goes with `close`.
 *
 *     host 1 ── 10.213.1.0/30 ──┐
 *     host 2 ── 10.213.2.0/30 ──┼── router (forwards, drops) ── 10.213.250.0/30 ── test
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const TEST = 250

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

function isThere(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some(folder => existsSync(join(folder, command)))
}

/** Why there can be none; undefined where there can. */
export function whyNoNetwork(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root'
  try {
    if (!isThere('nft')) execFileSync('apt-get', ['install', '-y', 'nftables'], { stdio: 'ignore', timeout: 120_000 })
    run('nft', '--version')
    const name = `mr${process.pid}probe`
    run('ip', 'netns', 'add', name)
    run('ip', 'netns', 'delete', name)
    return undefined
  } catch (error) {
    return String((error as Error).message).split('\n')[0]
  }
}

export class Network {
  readonly #router = `mr${process.pid}r`
  readonly #hosts = new Set<number>()

  constructor() {
    run('ip', 'netns', 'add', this.#router)
    this.#in(this.#router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
    this.#in(this.#router, 'nft', 'add table ip cuts')
    this.#in(this.#router, 'nft', 'add chain ip cuts forward { type filter hook forward priority 0 ; }')
    this.#link(TEST, undefined)
    run('ip', 'route', 'add', '10.213.0.0/16', 'via', `10.213.${TEST}.1`)
  }

  /** @param host 1 to 200 */
  add(host: number): void {
    const name = this.nameOf(host)
    run('ip', 'netns', 'add', name)
    this.#hosts.add(host)
    this.#in(name, 'ip', 'link', 'set', 'lo', 'up')
    this.#link(host, name)
    this.#in(name, 'ip', 'route', 'add', 'default', 'via', `10.213.${host}.1`)
  }

  nameOf(host: number): string {
    return `mr${process.pid}h${host}`
  }

  addressOf(host: number): string {
    return `10.213.${host}.2`
  }

  /** Drops what goes from one host to another. */
  cutOneWay(from: number, to: number): void {
    this.#drop(from, to, '')
  }

  /** Drops some of what goes from one host to another, by chance. */
  loseOneWay(from: number, to: number, percent: number): void {
    this.#drop(from, to, `numgen random mod 100 < ${percent}`)
  }

  lose(one: number, other: number, percent: number): void {
    this.loseOneWay(one, other, percent)
    this.loseOneWay(other, one, percent)
  }

  cut(one: number, other: number): void {
    this.cutOneWay(one, other)
    this.cutOneWay(other, one)
  }

  /** Packets that were dropped since the links were healed. */
  get dropped(): number {
    const rules = run('ip', 'netns', 'exec', this.#router, 'nft', 'list', 'chain', 'ip', 'cuts', 'forward')
    return [...rules.matchAll(/counter packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0)
  }

  /** Nothing is dropped any more. */
  heal(): void {
    this.#in(this.#router, 'nft', 'flush chain ip cuts forward')
  }

  close(): void {
    for (const host of this.#hosts) run('ip', 'netns', 'delete', this.nameOf(host))
    run('ip', 'netns', 'delete', this.#router) // and with it the test's link and route
  }

  #drop(from: number, to: number, condition: string): void {
    const packets = `ip saddr ${this.addressOf(from)} ip daddr ${this.addressOf(to)}`
    this.#in(this.#router, 'nft', `add rule ip cuts forward ${packets} ${condition} counter drop`)
  }

  #in(name: string, ...command: string[]): void {
    run('ip', 'netns', 'exec', name, ...command)
  }

  /** @param name namespace of the host; undefined: the test's own */
  #link(host: number, name: string | undefined): void {
    const near = `mr${process.pid}n${host}`.slice(0, 15)
    const far = `mr${process.pid}f${host}`.slice(0, 15)
    run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far)
    run('ip', 'link', 'set', far, 'netns', this.#router)
    this.#in(this.#router, 'ip', 'addr', 'add', `10.213.${host}.1/30`, 'dev', far)
    this.#in(this.#router, 'ip', 'link', 'set', far, 'up')
    if (name !== undefined) run('ip', 'link', 'set', near, 'netns', name)
    const inside = (...command: string[]): void =>
      name === undefined ? void run(command[0] as string, ...command.slice(1)) : this.#in(name, ...command)
    inside('ip', 'addr', 'add', `10.213.${host}.2/30`, 'dev', near)
    inside('ip', 'link', 'set', near, 'up')
  }
}
