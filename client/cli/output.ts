/**
 * Standard output: what is written is gathered and handed over in larger pieces. When whoever reads it goes away, as `head` does,
 * nothing more is written and `onClosed` is called, so that the command ends quietly.
 */

/** Gathered bytes from which `isFull` asks for a flush. */
const FLUSH_BYTES = 65_536

export class Output {
  readonly #stream: NodeJS.WritableStream
  #chunks: Uint8Array[] = []
  #bytes = 0
  #error: Error | undefined
  #isClosed = false

  /** @param onClosed called once, when nobody reads any more */
  constructor(stream: NodeJS.WritableStream, onClosed: () => void) {
    this.#stream = stream
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#isClosed) return
      this.#isClosed = true
      if (error.code !== 'EPIPE') this.#error = error
      onClosed()
    })
  }

  /** Nobody reads any more. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** There is much to hand over: call `flush` before writing more. */
  get isFull(): boolean {
    return this.#bytes >= FLUSH_BYTES
  }

  write(data: string | Uint8Array): void {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    this.#chunks.push(bytes)
    this.#bytes += bytes.length
  }

  line(text: string): void {
    this.write(`${text}\n`)
  }

  /** One JSON text in a line of its own. */
  json(value: unknown): void {
    this.line(JSON.stringify(value))
  }

  /** Hands over what was gathered; resolves when it is taken. @throws what the stream failed with, unless nobody reads any more */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#bytes = 0
    if (bytes.length > 0 && !this.#isClosed) {
      await new Promise<void>(resolve => {
        this.#stream.write(bytes, () => resolve())
      })
    }
    if (this.#error !== undefined) throw this.#error
  }
}

/** Columns as wide as their widest cell; numbers go to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map(row => row.map(cell => String(cell)))]
  const widths = head.map((_, column) => Math.max(...cells.map(row => (row[column] ?? '').length)))
  const isNumber = head.map((_, column) => rows.length > 0 && rows.every(row => typeof row[column] === 'number'))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] as number
        return isNumber[column] ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return cells.map(line).join('\n')
}

/** `1 record`, `2,000 records`. */
export const count = (number: number, noun: string): string =>
  `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`
