/** The benchmark's command line, given the cases: runs them, prints the table, writes the file. Main thread. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BenchCase, BenchContext } from './case.ts'
import { type Options, parseOptions, USAGE } from './options.ts'
import { describeMachine, formatTable, toJsonRows } from './report.ts'
import { runCases } from './run.ts'

export interface Output {
  /** Results. */
  out(text: string): void
  /** Progress and errors. */
  err(text: string): void
}

const consoleOutput: Output = { out: text => console.log(text), err: text => console.error(text) }

/**
 * @param loadCases given the options, so that the engine is loaded only when it is measured
 * @returns the exit code: 0, 1 when a case broke, 2 when the command line is wrong; slowness is never a failure
 */
export async function benchMain(
  args: readonly string[],
  loadCases: (options: Options) => Promise<BenchCase[]>,
  output: Output = consoleOutput,
): Promise<number> {
  let options: Options
  try {
    options = parseOptions(args)
  } catch (error) {
    output.err(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    return 2
  }
  if (options.help) {
    output.out(USAGE)
    return 0
  }
  const cases = (await loadCases(options)).filter(({ name }) => name.includes(options.only))
  if (cases.length === 0) {
    output.err(`no case has "${options.only}" in its name; --list prints the names`)
    return 2
  }
  if (options.list) {
    for (const { name } of cases) output.out(name)
    return 0
  }
  return runAndReport(cases, options, output)
}

async function runAndReport(cases: readonly BenchCase[], options: Options, output: Output): Promise<number> {
  const directory = mkdtempSync(join(options.directory, 'millrace-bench-'))
  const context = new BenchContext(directory, options.rounds, output.err)
  try {
    const { rows, broken } = await runCases(cases, context, output.err)
    output.out(`\n${describeMachine(options.directory, options.rounds)}\n`)
    if (rows.length > 0) output.out(formatTable(rows).join('\n'))
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(toJsonRows(rows), null, 2)}\n`)
    if (broken.length > 0) output.out(`\nbroken: ${broken.join(', ')}`)
    return broken.length > 0 ? 1 : 0
  } finally {
    context.close()
    rmSync(directory, { recursive: true, force: true })
  }
}
