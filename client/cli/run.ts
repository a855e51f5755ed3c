/** One run of the command line: signals, a reader of stdout that goes away, failures, and the exit code. */
import { CommanderError } from 'commander'
import { Context, type Streams } from './context.ts'
import { describeFailure, EXIT } from './failure.ts'
import { Output } from './output.ts'
import { makeProgram } from './program.ts'

/** @returns the exit code */
export async function runCommandLine(args: readonly string[], streams: Streams = process): Promise<number> {
  const controller = new AbortController()
  let interruption: number | undefined
  const interrupted = (exitCode: number) => (): void => {
    // Who asks twice does not want to wait.
    if (interruption !== undefined) process.exit(exitCode)
    interruption = exitCode
    controller.abort()
  }
  const handlers = { SIGINT: interrupted(EXIT.interrupted), SIGTERM: interrupted(EXIT.terminated) }
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler)
  streams.stderr.on('error', () => undefined) // nobody reads the messages
  const out = new Output(streams.stdout, () => controller.abort())

  let context: Context | undefined
  const program = makeProgram(out, streams, directory => {
    context = new Context(out, streams, controller.signal, directory)
    return context
  })
  let exitCode: number | undefined
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    exitCode = failed(streams, error)
  }
  try {
    await out.flush()
  } catch (error) {
    exitCode = failed(streams, error)
  }
  for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler)
  if (exitCode !== undefined) return exitCode
  if (out.isClosed) return EXIT.ok
  if (interruption !== undefined && context?.isFollowing !== true) return interruption
  return context?.exitCode ?? EXIT.ok
}

function failed({ stderr }: Streams, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const { text, exitCode } = describeFailure(error)
  stderr.write(`${text}\n`)
  return exitCode
}
