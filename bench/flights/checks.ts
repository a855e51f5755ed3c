/** What the main job proves, a line each; the exit code depends on them. */
export class Checks {
  readonly #write: (line: string) => void
  #held = 0
  #failed = 0

  constructor(write: (line: string) => void = console.log) {
    this.#write = write
  }

  /** @param detail what was found; shown in both cases */
  check(what: string, held: boolean, detail = ''): void {
    if (held) this.#held += 1
    else this.#failed += 1
    this.#write(`${held ? '  ok    ' : '  FAILED'} ${what}${detail === '' ? '' : `: ${detail}`}`)
  }

  get held(): number {
    return this.#held
  }

  get failed(): number {
    return this.#failed
  }
}
