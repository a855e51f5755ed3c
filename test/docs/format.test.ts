import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AvroSerde, Millrace } from '../../client/index.ts'
import { PARTITIONS_MAX, SEGMENT_BYTES_MAX, SEGMENTS_MAX } from '../../engine/base/limits.ts'
import { ATTRIBUTE } from '../../engine/format/batch-layout.ts'
import { formatEpochCheckpoint, OFFSET_ENTRY, TIME_ENTRY } from '../../engine/format/index.ts'
import { encodeProducerSnapshot, PRODUCER_ENTRY, PRODUCER_SNAPSHOT } from '../../engine/format/producer-snapshot.ts'
import { BATCH, encodeBatch, stampBatch } from '../../engine/format/record-batch.ts'
import { Region } from '../../engine/format/region.ts'
import { TRANSACTION_ENTRY } from '../../engine/format/transaction-index.ts'
import { RECORD_STATE } from '../../engine/group/share/live-runs.ts'
import { rowOfRun } from '../../engine/group/share/stored-runs.ts'
import { INDEX_LOCK, SLOT, STATE } from '../../engine/memory/control-block.ts'
import { CONTROL_FILE } from '../../engine/memory/engine-memory.ts'
import { SEGMENT } from '../../engine/memory/segment-table.ts'
import { FORMAT_VERSION } from '../../engine/store/meta.ts'
import { SHARE_BLOCK_OFFSETS, STORED_RECORD_STATE } from '../../engine/store/share-states.ts'
import { namedBlock, namedTable, readDocument } from './support/markdown.ts'

const text = readDocument('docs/FORMAT.md')

const numberOf = (cell: string | undefined): number => Number((cell ?? '').replaceAll(',', ''))

/** First column by second column, of the rows whose second cell is a name in the code. */
function positions(table: string): Record<string, number> {
  const rows = namedTable(text, table).filter(([, name]) => /^[a-z][a-zA-Z]*$/.test(name ?? ''))
  return Object.fromEntries(rows.map(([at, name]) => [name, numberOf(at)]))
}

/** The constants of a layout whose names end in `At`, without that ending. */
function fieldsAt(layout: Readonly<Record<string, number>>): Record<string, number> {
  const fields = Object.entries(layout).filter(([name]) => name.endsWith('At'))
  return Object.fromEntries(fields.map(([name, at]) => [name.slice(0, -2), at]))
}

/** The bytes of a block: what stands in front of the two spaces that begin the comment. */
function bytesOf(block: string): string {
  const lines = namedBlock(text, block).split('\n')
  return lines.map(line => (line.split(/ {2,}/)[0] as string).replaceAll(' ', '')).join('')
}

describe('layouts', () => {
  test('record batch', () => {
    const { records, ...documented } = positions('BATCH')
    expect(documented).toEqual(fieldsAt(BATCH))
    expect(records).toBe(BATCH.headerBytes)
    const sizes = Object.fromEntries(namedTable(text, 'batch-sizes').map(([name, bytes]) => [name, numberOf(bytes)]))
    expect(sizes).toEqual({ headerBytes: BATCH.headerBytes, overheadBytes: BATCH.overheadBytes })
  })

  test('aborted transactions', () => {
    expect(positions('TRANSACTION_ENTRY')).toEqual(fieldsAt(TRANSACTION_ENTRY))
  })

  test('widths of the batch fields: each ends where the next begins', () => {
    const widths: Record<string, number> = { i8: 1, i16: 2, i32: 4, u32: 4, i64: 8 }
    let at = 0
    for (const [position, , type] of namedTable(text, 'BATCH')) {
      expect(numberOf(position)).toBe(at)
      at += widths[type as string] ?? 0
    }
    expect(at).toBe(BATCH.headerBytes)
  })

  test('attributes', () => {
    const bits = namedTable(text, 'attributes').map(([mask, name]) => [name, Number(mask)])
    expect(Object.fromEntries(bits)).toEqual(ATTRIBUTE)
  })

  test('index entries', () => {
    expect(positions('OFFSET_ENTRY')).toEqual(fieldsAt(OFFSET_ENTRY))
    expect(positions('TIME_ENTRY')).toEqual(fieldsAt(TIME_ENTRY))
    const sizes = Object.fromEntries(namedTable(text, 'entry-sizes').map(([name, bytes]) => [name, numberOf(bytes)]))
    expect(sizes).toEqual({ OFFSET_ENTRY: OFFSET_ENTRY.sizeBytes, TIME_ENTRY: TIME_ENTRY.sizeBytes })
  })

  test('producer snapshots', () => {
    const { entries, ...documented } = positions('PRODUCER_SNAPSHOT')
    expect(documented).toEqual(fieldsAt(PRODUCER_SNAPSHOT))
    expect(entries).toBe(PRODUCER_SNAPSHOT.headerBytes)
    expect(positions('PRODUCER_ENTRY')).toEqual(fieldsAt(PRODUCER_ENTRY))
    expect(text).toContain(`An entry has ${PRODUCER_ENTRY.sizeBytes} bytes.`)
  })

  test('slots and segment entries', () => {
    const { words: slotWords, ...slot } = SLOT
    const { words: segmentWords, ...segment } = SEGMENT
    expect(positions('SLOT')).toEqual(slot)
    expect(positions('SEGMENT')).toEqual(segment)
    expect(text).toContain(`A slot has ${slotWords} words`)
    expect(text).toContain(`An entry of the segment table has ${segmentWords} words`)
  })

  test('values of words', () => {
    const what = new Map(namedTable(text, 'SLOT').map(([, name, meaning]) => [name, meaning]))
    for (const [name, value] of Object.entries(STATE)) expect(what.get('state')).toContain(`${value} ${name}`)
    for (const value of Object.values(INDEX_LOCK)) expect(what.get('indexLock')).toMatch(new RegExp(`\\b${value} `))
  })

  test('limits', () => {
    expect(text).toContain(`at most ${SEGMENT_BYTES_MAX.toLocaleString('en-US')} bytes long`)
    expect(text).toContain(`this is version ${FORMAT_VERSION}.`)
  })
})

describe('bytes', () => {
  test('a batch', () => {
    const { bytes } = encodeBatch([{ timestamp: 1000, key: Buffer.from('k'), value: Buffer.from('v') }])
    stampBatch(Region.of(bytes).view, 0, 5, 2)
    expect(bytesOf('batch-bytes')).toBe(bytes.toString('hex'))
  })

  test('leader epochs', () => {
    const entries = [
      { epoch: 0, startOffset: 0 },
      { epoch: 3, startOffset: 1200 },
    ]
    expect(`${namedBlock(text, 'epochs')}\n`).toBe(formatEpochCheckpoint(entries))
  })

  test('a producer snapshot', () => {
    const of = { producerId: 7, producerEpoch: 1, coordinatorEpoch: -1, transactionFirstOffset: -1 }
    const bytes = encodeProducerSnapshot([
      { ...of, lastSequence: 4, lastOffset: 104, offsetDelta: 4, timestamp: 1000 },
      { ...of, lastSequence: 6, lastOffset: 110, offsetDelta: 1, timestamp: 2000 },
    ])
    expect(bytesOf('snapshot-bytes')).toBe(bytes.toString('hex'))
  })

  test('an Avro value', () => {
    const fields = [
      { name: 'name', type: 'string' },
      { name: 'count', type: 'int' },
    ]
    const serde = new AvroSerde(7, { type: 'record', name: 'Example', fields })
    expect(bytesOf('avro-bytes')).toBe(serde.encode({ name: 'x', count: 3 }).toString('hex'))
  })
})

test('the states of a stored run', () => {
  const [, , state] = namedTable(text, 'run-row').map(([, what]) => what as string)
  const documented = Object.fromEntries(
    [...(state as string).matchAll(/(\d) ([a-z ,-]+?)(?=,|\.)/g)].map(([, n, what]) => [what, Number(n)]),
  )
  expect(documented).toEqual({
    available: STORED_RECORD_STATE.available,
    'on the way to the dead-letter topic': STORED_RECORD_STATE.archiving,
    delayed: STORED_RECORD_STATE.delayed,
  })
  expect(namedTable(text, 'run-row')).toHaveLength(rowOfRun(0, EXAMPLE_RUN).length)
  expect(rowOfRun(1, { ...EXAMPLE_RUN, state: RECORD_STATE.delayed })).toEqual([6, 10, 5, 2, 99])
  expect(text).toContain(`floor(offset / ${SHARE_BLOCK_OFFSETS})`)
})

const EXAMPLE_RUN = {
  first: 1_030,
  end: 1_040,
  state: RECORD_STATE.acquired,
  deliveryCount: 2,
  memberId: 'm',
  atMs: 99,
}

describe('a directory', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-format-'))
  const topic = 'format.test'
  let topicId = ''
  /** The control file while the engine ran. */
  let control: DataView

  beforeAll(async () => {
    await using engine = await Millrace.open(directory, { writers: 1 })
    topicId = (await engine.admin.createTopic({ topic, partitions: 2, config: { 'segment.bytes': 16_384 } })).topicId
    await engine.schemas.register(`${topic}-value`, 'string')
    const producer = await engine.producer({ batchBytes: 4_096 })
    const messages = Array.from({ length: 200 }, (_, i) => ({ value: Buffer.alloc(200), partition: 1, timestamp: i }))
    await producer.send({ topic, messages })
    const bytes = readFileSync(join(directory, CONTROL_FILE))
    control = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  test('has no file that the document does not name', () => {
    const digits = { offset: '\\d{20}', topic: '[a-zA-Z0-9._-]+', partition: '\\d+', 'topic id': '[0-9a-f-]{36}' }
    const patterns = namedTable(text, 'files').map(([path]) => {
      const literal = (path as string).replaceAll('.', '\\.')
      return new RegExp(`^${literal.replaceAll(/<(.+?)>/g, (_, name) => digits[name as keyof typeof digits])}$`)
    })
    const found = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    const paths = found.map(({ parentPath, name }) => join(parentPath, name).slice(directory.length + 1))
    expect(paths.length).toBeGreaterThan(10)
    expect(paths.filter(path => !patterns.some(pattern => pattern.test(path)))).toEqual([])
  })

  test('parts of the control file', () => {
    const parts = namedTable(text, 'control').map(([at, size]) => ({ at: numberOf(at), size: size as string }))
    for (const [index, { at, size }] of parts.entries()) {
      const bytes = size.split('×').reduce((product, factor) => product * numberOf(factor), 1)
      expect(parts[index + 1]?.at ?? at, `end of part ${index}`).toBe(at + bytes)
    }
    const counts = parts.slice(1, -1).map(({ size }) => numberOf(size.split('×')[1]))
    expect(counts).toEqual([PARTITIONS_MAX, PARTITIONS_MAX, SEGMENTS_MAX])
    expect(statSync(join(directory, CONTROL_FILE)).size).toBe(parts.at(-1)?.at)
  })

  test('words of the control file', () => {
    const at = namedTable(text, 'control').map(([position]) => numberOf(position)) as [number, number, number, number]
    const word = (position: number): number => Number(control.getBigInt64(position, true))
    const [magic, version, state] = namedTable(text, 'control-header').map(([, what]) => what as string)
    expect(magic).toContain(control.getBigInt64(0, true).toString(16))
    expect(version).toBe(`version ${word(8)}`)
    expect(state).toContain(`${word(16)} in use`)

    const slot = [0, 1].find(candidate => identityAt(at[1] + candidate * 32).partition === 1) as number
    expect(identityAt(at[1] + slot * 32).topicId).toBe(topicId)
    const slotAt = at[2] + slot * SLOT.words * 8
    expect(word(slotAt + SLOT.logEndOffset * 8)).toBe(200)
    expect(word(slotAt + SLOT.highWatermark * 8)).toBe(200)
    expect(word(slotAt + SLOT.segmentCount * 8)).toBeGreaterThan(1)
    const entryAt = at[3] + word(slotAt + SLOT.headSegment * 8) * SEGMENT.words * 8
    const first = join(directory, `${topic}-1`, '00000000000000000000.log')
    expect(word(entryAt + SEGMENT.sizeBytes * 8)).toBe(statSync(first).size)
  })

  function identityAt(at: number): { topicId: string; partition: number } {
    const words = [0, 4, 8, 12].map(offset =>
      control
        .getUint32(at + offset, true)
        .toString(16)
        .padStart(8, '0'),
    )
    const hex = words.join('')
    const id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
    return { topicId: id, partition: control.getUint32(at + 16, true) }
  }

  test('databases of the store, their facts and a checkpoint', async () => {
    const root = open<unknown, string>({ path: join(directory, 'store'), readOnly: true })
    const names = [...root.getKeys()].map(String)
    expect(names.sort()).toEqual(
      namedTable(text, 'databases')
        .map(([name]) => name)
        .sort(),
    )

    const facts = root.openDB<string, Buffer>({ name: 'meta', encoding: 'string', keyEncoding: 'binary' })
    const found = [...facts.getKeys()].map(key => key.toString())
    expect(found.sort()).toEqual(
      namedTable(text, 'meta')
        .map(([fact]) => fact)
        .sort(),
    )

    const checkpoints = root.openDB<string, Buffer>({ name: 'checkpoints', encoding: 'string', keyEncoding: 'binary' })
    const key = Buffer.alloc(20)
    key.write(topicId.replaceAll('-', ''), 'hex')
    key.writeUInt32BE(1, 16)
    const { segments } = JSON.parse(checkpoints.get(key) as string) as { segments: number[][] }
    await root.close()
    const columns = namedTable(text, 'segment-row').map(([, name]) => name as string)
    const last = Object.fromEntries((segments.at(-1) as number[]).map((value, index) => [columns[index], value]))
    const log = join(directory, `${topic}-1`, `${String(last['baseOffset']).padStart(20, '0')}.log`)
    expect(Object.keys(last)).toEqual(columns)
    expect(last).toMatchObject({
      sizeBytes: statSync(log).size,
      nextOffset: 200,
      maxTimestamp: 199,
      maxTimestampOffset: 199,
    })
    const bytesOfFile = (suffix: string): number => statSync(log.replace(/log$/, suffix)).size
    expect(last['offsetEntries']).toBe(bytesOfFile('index') / OFFSET_ENTRY.sizeBytes)
    expect(last['timeEntries']).toBe(bytesOfFile('timeindex') / TIME_ENTRY.sizeBytes)
  })
})
