/**
 * What is measured of one broker. Kafka comes first: the latency of both is taken at half of the rate that Kafka reached, so
 * both have the same work to do.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Unit } from '../harness/case.ts'
import type { WireBroker } from './brokers.ts'
import { consume, hasKcat, kcatConsume, kcatProduce, produce } from './clients.ts'
import { cpuSeconds, memoryOf } from './vitals.ts'

export interface Measured {
  readonly value: number
  readonly unit: Unit
}

/** By the name of the case, in the order in which they were measured. */
export type Figures = Map<string, Measured>

export interface WireOptions {
  readonly directory: string
  /** Records of 100 bytes in a round; of 1 KiB a quarter. */
  readonly records: number
  readonly rounds: number
  readonly log: (line: string) => void
}

const SIZES = [
  { name: '100B', bytes: 100, share: 1 },
  { name: '1KiB', bytes: 1_024, share: 4 },
] as const
const ACKS = ['1', 'all'] as const
const PRODUCERS = [1, 8] as const
/** Seconds of a run at a set rate, of which the first part is not counted: the client still compiles itself for some. */
const LATENCY_SECONDS = 20
const MILLION = 1_000_000
const KCAT_LINES = MILLION
const KCAT_LINE_BYTES = 100

/** @param kafka figures of Kafka, of which the rates for latencies come; none while it is Kafka that is measured */
export async function measure(broker: WireBroker, options: WireOptions, kafka: Figures | undefined): Promise<Figures> {
  const figures: Figures = new Map()
  const note = (name: string, value: number, unit: Unit): void => {
    figures.set(name, { value, unit })
    options.log(`${broker.name}: ${name} ${Number(value.toPrecision(4))} ${unit}`)
  }
  note('start', (await broker.start()) * 1_000, 'us')
  try {
    // The first run warms up what compiles itself while it runs: both virtual machines, and the clients' files.
    await produce(broker.bootstrap, { topic: 'warm', records: options.records, recordBytes: 100, acks: '1' })
    await throughput(broker, options, note)
    await latency(broker, figures, kafka, note)
    await consumption(broker, options, note)
    if (hasKcat()) await kcat(broker, options, note)
    else options.log('skipped: kcat is not installed')
    const { anonymousBytes, sharedBytes, fileBytes } = memoryOf(broker.pid)
    note('memory', anonymousBytes + sharedBytes, 'bytes')
    options.log(`${broker.name}: ${Math.round(fileBytes / MILLION)} MB of file pages, which the kernel takes back`)
  } finally {
    await broker.stop()
  }
  return figures
}

type Note = (name: string, value: number, unit: Unit) => void

const topicOf = (size: string, acks: string, producers: number): string => `p-${size}-${acks}-${producers}`

async function throughput(broker: WireBroker, { records, rounds }: WireOptions, note: Note): Promise<void> {
  for (const { name: size, bytes, share } of SIZES) {
    for (const acks of ACKS) {
      for (const producers of PRODUCERS) {
        const each = Math.floor(records / share / producers)
        const rates: number[] = []
        const cpu: number[] = []
        for (let round = 0; round < rounds; round++) {
          const before = cpuSeconds(broker.pid)
          const load = { topic: topicOf(size, acks, producers), records: each, recordBytes: bytes, acks }
          const all = await Promise.all(Array.from({ length: producers }, () => produce(broker.bootstrap, load)))
          rates.push(all.reduce((sum, { recordsPerSecond }) => sum + recordsPerSecond, 0))
          cpu.push(((cpuSeconds(broker.pid) - before) / (each * producers)) * MILLION)
        }
        note(`produce/${size}/acks-${acks}/${producers}`, median(rates), 'records/s')
        note(`cpu/produce/${size}/acks-${acks}/${producers}`, median(cpu) * MILLION, 'us')
      }
    }
  }
}

async function latency(broker: WireBroker, own: Figures, kafka: Figures | undefined, note: Note): Promise<void> {
  for (const { name: size, bytes } of SIZES) {
    for (const acks of ACKS) {
      const best = (kafka ?? own).get(`produce/${size}/acks-${acks}/1`)?.value ?? 0
      const rate = Math.max(1, Math.floor(best / 2))
      const load = { topic: `l-${size}-${acks}`, records: rate * LATENCY_SECONDS, recordBytes: bytes, acks }
      const { p50Ms, p99Ms } = await produce(broker.bootstrap, { ...load, throughput: rate })
      // The tool tells whole milliseconds.
      note(`latency/p50/${size}/acks-${acks}`, Math.max(p50Ms, 0.5) * 1_000, 'us')
      note(`latency/p99/${size}/acks-${acks}`, Math.max(p99Ms, 0.5) * 1_000, 'us')
    }
  }
}

async function consumption(broker: WireBroker, { records, rounds }: WireOptions, note: Note): Promise<void> {
  for (const { name: size, share } of SIZES) {
    const rates: number[] = []
    const cpu: number[] = []
    const count = Math.floor(records / share)
    for (let round = 0; round < rounds; round++) {
      const before = cpuSeconds(broker.pid)
      rates.push(await consume(broker.bootstrap, topicOf(size, '1', 1), count))
      cpu.push(((cpuSeconds(broker.pid) - before) / count) * MILLION)
    }
    note(`consume/${size}`, median(rates), 'records/s')
    note(`cpu/consume/${size}`, median(cpu) * MILLION, 'us')
  }
}

async function kcat(broker: WireBroker, { directory, rounds }: WireOptions, note: Note): Promise<void> {
  const path = join(directory, 'lines')
  writeFileSync(path, `${'x'.repeat(KCAT_LINE_BYTES - 1)}\n`.repeat(KCAT_LINES))
  const produced: number[] = []
  const consumed: number[] = []
  for (let round = 0; round < rounds; round++) {
    produced.push(KCAT_LINES / (await kcatProduce(broker.bootstrap, `kcat-${round}`, path)))
    consumed.push(KCAT_LINES / (await kcatConsume(broker.bootstrap, `kcat-${round}`)))
  }
  note('kcat/produce/100B', median(produced), 'records/s')
  note('kcat/consume/100B', median(consumed), 'records/s')
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}
