/**
 * The real input: three million flights of the United States, January to June 2001, from `flights-3m.parquet` of the
 * `vega-datasets` package. Decoded column by column into typed arrays (no object per flight); airports become numbers.
 * Main thread.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { zstdDecompressSync } from 'node:zlib'
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from 'hyparquet'

/** Flight `i` is the i-th entry of every column. */
export interface Flights {
  readonly count: number
  /** Milliseconds since the Unix epoch, whole minutes, never decreasing. */
  readonly timestamps: Float64Array
  /** Minutes; early flights are negative. */
  readonly delays: Int16Array
  /** Miles. */
  readonly distances: Int16Array
  /** Indexes into `airports`. */
  readonly origins: Uint16Array
  readonly destinations: Uint16Array
  /** Three-letter codes. */
  readonly airports: readonly string[]
}

/** Where npm put the file. The package exports its code only, so the way goes from there up to its folder. */
export function findDataset(): string {
  const file = join('data', 'flights-3m.parquet')
  let folder = dirname(fileURLToPath(import.meta.resolve('vega-datasets')))
  while (!existsSync(join(folder, file))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`${file} is not in the vega-datasets package; run npm ci`)
    folder = parent
  }
  return join(folder, file)
}

/** Column of the file to column of ours. */
const COLUMNS = {
  date: 'timestamps',
  delay: 'delays',
  distance: 'distances',
  origin: 'origins',
  destination: 'destinations',
} as const

/**
 * Decodes the whole file, about 1.2 s.
 * @param onProgress called with the flights decoded so far, after each row group
 * @throws when a value is missing or does not fit its column
 */
export async function readFlights(path: string, onProgress: (flights: number) => void = () => {}): Promise<Flights> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  const count = Number(metadata.num_rows)
  const flights = {
    count,
    timestamps: new Float64Array(count),
    delays: new Int16Array(count),
    distances: new Int16Array(count),
    origins: new Uint16Array(count),
    destinations: new Uint16Array(count),
    airports: [] as string[],
  }
  const codes = new Map<string, number>()
  const parsers = {
    timestampFromMicroseconds: (micros: bigint): number => Number(micros) / 1000,
    // Called once per entry of a page's dictionary, not per flight.
    stringFromBytes: (bytes: Uint8Array): number => codeOf(Buffer.from(bytes).toString(), codes, flights.airports),
  }
  const compressors = { ZSTD: (input: Uint8Array): Uint8Array => zstdDecompressSync(input) }
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    for (const [name, column] of Object.entries(COLUMNS)) {
      const onChunk = (chunk: { columnData: ArrayLike<unknown>; rowStart: number }): void =>
        copyColumn(chunk.columnData, flights[column], chunk.rowStart, name)
      await parquetRead({ file, metadata, columns: [name], rowStart, rowEnd, compressors, parsers, onChunk })
    }
    rowStart = rowEnd
    onProgress(rowStart)
  }
  return flights
}

function codeOf(airport: string, codes: Map<string, number>, airports: string[]): number {
  const known = codes.get(airport)
  if (known !== undefined) return known
  const code = airports.push(airport) - 1
  codes.set(airport, code)
  return code
}

function copyColumn(
  from: ArrayLike<unknown>,
  to: Flights[(typeof COLUMNS)['date' | 'delay' | 'origin']],
  at: number,
  name: string,
): void {
  for (let i = 0; i < from.length; i++) {
    const value = Number(from[i] ?? Number.NaN)
    to[at + i] = value
    if (to[at + i] !== value) throw new Error(`${name} of flight ${at + i} is ${from[i]}`)
  }
}
