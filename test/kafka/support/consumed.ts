/** What Kafka's own consumer gets from a node, by `test/kafka/java/Read.java`. */
import { fileURLToPath } from 'node:url'
import { java } from '../../../bench/kafka/java.ts'
import type { KafkaNode } from '../../../bench/kafka/node.ts'
import type { PlainRecord } from './records.ts'

export interface Consumed {
  /** With the leader epoch that the consumer was told. */
  readonly records: (PlainRecord & { readonly epoch: number })[]
  /** First record from an offset on. */
  readonly seeks: { readonly offset: number; readonly found: number }[]
  /** Offset for a timestamp, -1 for none. */
  readonly times: { readonly timestamp: number; readonly found: number }[]
}

interface Line {
  readonly kind: 'record' | 'seek' | 'time'
  readonly isolation: string
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly found: number
  readonly epoch: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

const source = (name: string): string => fileURLToPath(new URL(`../java/${name}`, import.meta.url))

/** Fills the node's topics: see `Write.java`. */
export async function write(node: KafkaNode, phase: 'first' | 'second' | 'last'): Promise<void> {
  const { code, output } = await java(source('Write.java'), [node.bootstrap, phase])
  if (code !== 0) throw new Error(`Write ended with ${code}\n${output.slice(-4_000)}\n${node.log.slice(-4_000)}`)
}

/**
 * All of some topics, by `<topic>-<partition>`.
 * @param committed topics that are read once more without what was aborted, under the same names with a `!` behind
 */
export async function consume(
  node: KafkaNode,
  topics: readonly string[],
  committed: readonly string[] = [],
): Promise<Map<string, Consumed>> {
  const asked = ['read_uncommitted', ...topics, 'read_committed', ...committed]
  const { code, stdout, stderr } = await java(source('Read.java'), [node.bootstrap, ...asked])
  if (code !== 0) throw new Error(`Read ended with ${code}\n${stderr.slice(-4_000)}\n${node.log.slice(-4_000)}`)
  const all = new Map<string, Consumed>()
  for (const text of stdout.split('\n').filter(line => line !== '')) {
    const line = JSON.parse(text) as Line
    const name = `${line.topic}-${line.partition}${line.isolation === 'read_committed' ? '!' : ''}`
    const consumed = all.get(name) ?? { records: [], seeks: [], times: [] }
    all.set(name, consumed)
    if (line.kind === 'record') consumed.records.push(recordOf(line))
    else if (line.kind === 'seek') consumed.seeks.push({ offset: line.offset, found: line.found })
    else consumed.times.push({ timestamp: line.timestamp, found: line.found })
  }
  return all
}

function recordOf({ offset, timestamp, epoch, key, value, headers }: Line): Consumed['records'][number] {
  const text = (base64: string | null): string | null =>
    base64 === null ? null : Buffer.from(base64, 'base64').toString()
  const listed = headers.map(([name, bytes]) => (bytes === null ? name : `${name}=${text(bytes)}`))
  return { offset, timestamp, epoch, key: text(key), value: text(value), headers: listed.join(',') }
}
