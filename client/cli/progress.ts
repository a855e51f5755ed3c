/** A progress bar on a terminal, a line at every quarter elsewhere; on stderr, so that stdout holds results only. */

export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Milliseconds between two drawings: often enough to look alive, seldom enough to cost nothing. */
const REDRAW_MS = 80
const BAR_CHARACTERS_MAX = 32
const QUARTERS = 4

export class Progress {
  readonly #label: string
  readonly #total: number
  readonly #format: (done: number) => string
  readonly #stream: ProgressStream
  readonly #startMs = performance.now()
  #drawnMs = Number.NEGATIVE_INFINITY
  #quarter = 0

  /**
   * @param total what `update` counts up to
   * @param format of what is done, for the text beside the bar
   */
  constructor(
    label: string,
    total: number,
    stream: ProgressStream = process.stderr,
    format: (done: number) => string = done => done.toLocaleString('en-US'),
  ) {
    this.#label = label
    this.#total = total
    this.#format = format
    this.#stream = stream
  }

  /** Call it as often as is handy; it draws when there is something new to see. */
  update(done: number): void {
    if (!this.#stream.isTTY) {
      const quarter = Math.floor((done / this.#total) * QUARTERS)
      if (quarter > this.#quarter) this.#stream.write(`${this.#text(done)}\n`)
      this.#quarter = Math.max(this.#quarter, quarter)
      return
    }
    const nowMs = performance.now()
    if (nowMs - this.#drawnMs < REDRAW_MS) return
    this.#drawnMs = nowMs
    this.#draw(done)
  }

  /** Draws the full bar and ends its line. */
  finish(): void {
    if (this.#stream.isTTY) {
      this.#draw(this.#total)
      this.#stream.write('\n')
    } else {
      this.update(this.#total)
    }
  }

  #draw(done: number): void {
    const text = this.#text(done)
    const room = Math.min(BAR_CHARACTERS_MAX, (this.#stream.columns || 80) - text.length - 3)
    const filled = Math.round(Math.min(done / this.#total, 1) * Math.max(room, 0))
    const bar = room > 0 ? `${'█'.repeat(filled)}${'░'.repeat(room - filled)}  ` : ''
    this.#stream.write(`\r\x1b[2K${bar}${text}`)
  }

  #text(done: number): string {
    const percent = Math.floor((done / this.#total) * 100)
    const seconds = (performance.now() - this.#startMs) / 1000
    return `${this.#label} ${percent} %, ${this.#format(done)} in ${seconds.toFixed(1)} s`
  }
}
