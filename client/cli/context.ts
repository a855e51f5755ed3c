/**
 * What every command gets: where its data goes, where its messages go, the directory, and whether it was interrupted. Data goes to
 * stdout and nothing else does; messages and progress go to stderr.
 */
import type { StdioOptions } from 'node:child_process'
import { resolve } from 'node:path'
import { EXIT, UsageError } from './failure.ts'
import type { Output } from './output.ts'
import type { ProgressStream } from './progress.ts'

/** Where input comes from and output goes: those of the process, or what a test holds. */
export interface Streams {
  readonly stdin: AsyncIterable<Uint8Array> & { destroy(): unknown }
  readonly stdout: NodeJS.WritableStream
  readonly stderr: ProgressStream & Pick<NodeJS.WritableStream, 'on'>
}

export class Context {
  readonly out: Output
  /** Aborted by SIGINT and SIGTERM, and when nobody reads stdout any more. */
  readonly signal: AbortSignal
  readonly #streams: Streams
  readonly #directory: string | undefined
  /** What the process ends with, unless something is thrown. */
  exitCode: number = EXIT.ok
  /** The command goes on until it is interrupted, so that is how it ends well. */
  isFollowing = false

  constructor(out: Output, streams: Streams, signal: AbortSignal, directory: string | undefined) {
    this.out = out
    this.#streams = streams
    this.signal = signal
    this.#directory = directory
  }

  /** The data directory. @throws UsageError when none was named */
  get directory(): string {
    const directory = this.#directory ?? process.env['MILLRACE_DIR']
    if (directory === undefined || directory === '') {
      throw new UsageError(
        'no data directory was named',
        'Give it with --dir DIRECTORY, or in the variable MILLRACE_DIR.',
      )
    }
    return resolve(directory)
  }

  /** Standard input; it ends with the interruption, so that nobody waits for a terminal or a pipe then. */
  get stdin(): AsyncIterable<Uint8Array> {
    const { stdin } = this.#streams
    this.signal.addEventListener('abort', () => stdin.destroy(), { once: true })
    return stdin
  }

  /** Where the streams of a process go that a command starts: to those of this one, or through `out` and `note`. */
  get childStreams(): StdioOptions {
    return this.#streams.stdout === process.stdout ? 'inherit' : ['ignore', 'pipe', 'pipe']
  }

  /** For progress. */
  get stderr(): ProgressStream {
    return this.#streams.stderr
  }

  /** A message for whoever watches. */
  note(text: string): void {
    this.#streams.stderr.write(`${text}\n`)
  }
}
