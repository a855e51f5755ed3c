import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Block, blocksOf, ROOT, readDocument } from './markdown.ts'

/** An example is a program: a block of the language `ts`. */
export interface Example extends Block {
  readonly document: string
}

export function examplesOf(document: string): Example[] {
  const blocks = blocksOf(readDocument(document)).filter(({ language }) => language === 'ts')
  return blocks.map(block => ({ ...block, document }))
}

/** What the example says that it prints: the text behind `// →` in each line that has one, in order. */
export function expectedOutput({ code }: Example): string[] {
  return code.split('\n').flatMap(line => /\/\/ → (.*)$/.exec(line)?.[1] ?? [])
}

/** How a process went that ran several examples, and what each of them printed. */
export interface ExampleRun {
  readonly status: number | null
  readonly outputs: readonly string[]
  readonly stderr: string
}

const MARK = '\x1e'

/** `millrace` and its subpaths, as package.json exports them, to the sources that they are compiled from. */
function sourceOf(specifier: string): string {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, { default?: string }>
  }
  const target = exports[specifier.replace(/^millrace/, '.')]?.default
  if (target === undefined) throw new Error(`package.json does not export ${specifier}`)
  return target.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts')
}

const IMPORT = /(\bfrom\s*)'(millrace(?:\/[a-z]+)?)'/g

/** A folder with the examples as files, in which they run and are checked as they are. Lines keep their numbers. */
export class ExampleFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'millrace-docs-'))
  #files = 0

  constructor() {
    writeFileSync(join(this.path, 'package.json'), '{ "type": "module" }')
  }

  /** Writes one example into a folder of its own and returns the file. */
  add({ code, line, document }: Example): string {
    const folder = join(this.path, `${document.replaceAll(/[^a-zA-Z]/g, '-')}-${this.#files++}`)
    mkdirSync(folder)
    const file = join(folder, 'example.ts')
    const rewritten = code.replaceAll(IMPORT, (_, from, specifier) => `${from}'${join(ROOT, sourceOf(specifier))}'`)
    writeFileSync(file, '\n'.repeat(line - 1) + rewritten)
    return file
  }

  /** Complaints of the compiler about all examples, with the project's options; empty when there are none. */
  typeErrors(): string {
    const config = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        noUnusedLocals: false,
        rewriteRelativeImportExtensions: false,
        typeRoots: [join(ROOT, 'node_modules/@types')],
      },
      include: [join(this.path, '*/example.ts')],
    }
    writeFileSync(join(this.path, 'tsconfig.json'), JSON.stringify(config))
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    const { stdout, stderr } = spawnSync(process.execPath, [compiler, '-p', this.path], { encoding: 'utf8' })
    return `${stdout}${stderr}`.trim()
  }

  /** Runs examples one after the other, each in its folder, all in one process: its start takes longer than they do. */
  async run(files: readonly string[]): Promise<ExampleRun> {
    const runner = join(this.path, `runner-${this.#files++}.ts`)
    const steps = files.map(file => {
      const [folder, path] = [join(file, '..'), file].map(text => JSON.stringify(text))
      return `console.log(${JSON.stringify(MARK)})\nprocess.chdir(${folder})\nawait import(${path})\n`
    })
    writeFileSync(runner, steps.join(''))
    return await new Promise(resolve => {
      const child = execFile(process.execPath, [runner], { timeout: 180_000 }, (_, stdout, stderr) => {
        resolve({ status: child.exitCode, outputs: stdout.split(`${MARK}\n`).slice(1), stderr })
      })
    })
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
