/** Runs a Java class over Kafka's jars: one of Kafka's by its name, or a source file. */
import { kafkaClassPath } from './jars.ts'
import { type Finished, run } from './process.ts'

/** A short life in little memory. What Kafka logs as a warning or worse goes to standard error. */
export const JVM = [
  '-Xmx256m',
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
]

const TIMEOUT_MS = 180_000

/** @param program a class name, or the path of a `.java` file */
export async function java(
  program: string,
  args: readonly string[],
  { timeoutMs = TIMEOUT_MS }: { readonly timeoutMs?: number } = {},
): Promise<Finished> {
  return run('java', [...JVM, '-cp', await kafkaClassPath(), program, ...args], { timeoutMs })
}
