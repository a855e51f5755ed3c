/**
 * Runs blocks of the language `console` as one session of a real shell. `millrace` in it is a script that hands its arguments and
 * its input to this process, which runs the command line here: starting Node for each of them would take most of the time.
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandLine } from '../../client/cli/support/cli.ts'
import type { Block } from './markdown.ts'

export interface Step {
  readonly line: number
  /** What is typed, of several lines when it goes on. */
  readonly command: string
  readonly expected: string
}

/** Lines behind `$ ` are typed, those behind `> ` go on, all others are printed. */
export function stepsOf({ code, line }: Block): Step[] {
  const steps: { line: number; command: string; expected: string }[] = []
  for (const [index, text] of code.split('\n').entries()) {
    const last = steps.at(-1)
    if (text.startsWith('$ ')) steps.push({ line: line + index, command: text.slice(2), expected: '' })
    else if (last === undefined) throw new Error(`line ${line + index}: a block begins with a command`)
    else if (text.startsWith('> ') && last.expected === '') last.command += `\n${text.slice(2)}`
    else last.expected += `${text}\n`
  }
  return steps
}

/** Whether text is as expected, where `…` stands for anything within a line. */
export function isLike(text: string, expected: string): boolean {
  const pattern = expected
    .split('…')
    .map(part => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*?')
  return new RegExp(`^${pattern}$`).test(text)
}

const SHIM = `#!/bin/sh
call=$(mktemp -d "$CALLS/XXXXXX")
cat > "$call/in"
for argument in "$@"; do printf '%s\\0' "$argument"; done > "$call/arguments"
printf '%s' "$MILLRACE_DIR" > "$call/directory"
mkfifo "$call/done"
: > "$call/ready"
read code < "$call/done"
cat "$call/err" >&2
cat "$call/out"
exit "$code"
`

const MARK = '\x1e'
const LOOK_MS = 5

/** @returns what each step printed, stdout and stderr together */
export async function runSession(steps: readonly Step[]): Promise<string[]> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-console-')))
  const [calls, bin, work] = ['calls', 'bin', 'work'].map(name => join(folder, name)) as [string, string, string]
  for (const each of [calls, bin, work]) mkdirSync(each)
  writeFileSync(join(bin, 'millrace'), SHIM)
  chmodSync(join(bin, 'millrace'), 0o755)
  const before = process.cwd()
  process.chdir(work)
  const timer = setInterval(() => void serve(calls), LOOK_MS)
  try {
    // Each command finds the exit code of the one before in $?.
    const script = steps.map(({ command }) => `{ code=$?; printf '${MARK}'; (exit $code); }\n${command}\n`)
    const output = await shell(`exec 2>&1\n${script.join('')}`, { CALLS: calls, PATH: `${bin}:${process.env['PATH']}` })
    return output.split(MARK).slice(1)
  } finally {
    clearInterval(timer)
    process.chdir(before)
    rmSync(folder, { recursive: true, force: true })
  }
}

function shell(script: string, variables: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...variables, LC_ALL: 'C' }
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'], env, timeout: 300_000 })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.on('error', reject)
    child.on('close', () => resolve(output))
  })
}

const served = new Set<string>()

async function serve(calls: string): Promise<void> {
  for (const name of readdirSync(calls)) {
    const call = join(calls, name)
    if (served.has(call) || !existsSync(join(call, 'ready'))) continue
    served.add(call)
    const args = readFileSync(join(call, 'arguments'), 'utf8').split('\0').slice(0, -1)
    const cli = new CommandLine(readFileSync(join(call, 'directory'), 'utf8'))
    const { exitCode, bytes, stderr } = await cli.run(args, { input: readFileSync(join(call, 'in')) })
    writeFileSync(join(call, 'out'), bytes)
    writeFileSync(join(call, 'err'), stderr)
    await writeFile(join(call, 'done'), `${exitCode}\n`)
  }
}
