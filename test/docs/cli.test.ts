import { Writable } from 'node:stream'
import type { Command } from 'commander'
import { beforeAll, describe, expect, test } from 'vitest'
import { Output } from '../../client/cli/output.ts'
import { makeProgram } from '../../client/cli/program.ts'
import { isLike, runSession, type Step, stepsOf } from './support/console.ts'
import { blocksOf, namedTable, readDocument } from './support/markdown.ts'

const text = readDocument('docs/CLI.md')

function makeCommands(): Command {
  const nowhere = new Writable()
  return makeProgram(new Output(nowhere, () => undefined), { stderr: nowhere }, () => {
    throw new Error('nothing runs here')
  })
}

/** The commands that do something, by what one types. */
function leaves(command: Command, path: readonly string[] = []): [name: string, command: Command][] {
  if (command.commands.length === 0) return [[path.join(' '), command]]
  return command.commands.flatMap(each => leaves(each, [...path, each.name()]))
}

const commands = new Map(leaves(makeCommands()))

/** From a heading to the next one. */
function sectionOf(heading: string): string {
  const lines = text.split('\n')
  const from = lines.indexOf(heading)
  const length = lines.slice(from + 1).findIndex(line => /^##+ /.test(line))
  return from === -1 ? '' : lines.slice(from, length === -1 ? undefined : from + 1 + length).join('\n')
}

const rowsOf = (section: string): string[][] => {
  const lines = section.split('\n').filter(line => line.startsWith('| `-'))
  return lines.map(line =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map(cell => cell.trim().replaceAll('`', '').replaceAll('\\|', '|')),
  )
}

describe('docs/CLI.md', () => {
  test('has every command, and no other', () => {
    expect([...text.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading).sort()).toEqual([...commands.keys()].sort())
  })

  test.for([...commands])('%s has its usage, its options and an example', ([name, command]) => {
    const section = sectionOf(`### ${name}`)
    expect(section).toContain(`\`millrace ${name} ${command.usage()}\``)
    const help = command.createHelp()
    const options = command.options.map(option => [option.flags, help.optionDescription(option)])
    expect(rowsOf(section)).toEqual(options)
    expect(section).toMatch(/^```console$/m)
    expect(section).toContain(`${name} `)
  })

  test('has the options of every command', () => {
    const program = makeCommands()
    const help = program.createHelp()
    const options = program.options.map(option => [option.flags, help.optionDescription(option)])
    expect(rowsOf(text.slice(0, text.indexOf('## ')))).toEqual([...options, ['-h, --help', 'print help']])
  })

  test('has every letter of a format', () => {
    const documented = namedTable(text, 'format').map(([letter]) => letter)
    const flag = commands.get('consume')?.options.find(({ long }) => long === '--format')
    expect(documented).toEqual([...(flag?.description.match(/%\w(?= |;)/g) ?? []), '%%'])
  })
})

describe('the examples of docs/CLI.md', () => {
  const steps = blocksOf(text).flatMap(block => (block.language === 'console' ? stepsOf(block) : []))
  let printed: readonly string[]
  beforeAll(async () => {
    printed = await runSession(steps)
  }, 300_000)

  test('all ran', () => {
    expect(steps.length).toBeGreaterThan(25)
    expect(printed.length).toBe(steps.length)
  })

  test.for(steps.map((step, index): [line: number, step: Step, index: number] => [step.line, step, index]))(
    'line %i',
    ([, { command, expected }, index]) => {
      const actual = printed[index] as string
      if (!isLike(actual, expected)) expect(actual, command).toBe(expected)
    },
  )
})

describe('the examples of --help', () => {
  /** All texts of help, with what is added to them. */
  function helpOf(command: Command): string {
    let help = ''
    const writeOut = (part: string): void => {
      help += part
    }
    command.configureOutput({ writeOut }).outputHelp()
    return help + command.commands.map(helpOf).join('')
  }

  test('are right command lines', async () => {
    const lines = [
      ...new Set(
        helpOf(makeCommands())
          .matchAll(/^ {2}(?:.* )?millrace (.*)$/gm)
          .map(([line]) => line),
      ),
    ]
    const examples = lines.flatMap(line => line.split(' | ').flatMap(part => /^ *millrace (.*)$/.exec(part)?.[1] ?? []))
    expect(examples.length).toBeGreaterThan(20)
    for (const example of examples) {
      const words = [...example.replace(/ > .*$/, '').matchAll(/'([^']*)'|(\S+)/g)].map(
        ([, quoted, bare]) => quoted ?? bare ?? '',
      )
      const program = makeCommands()
      let ran = ''
      for (const [name, command] of leaves(program)) {
        command.action(() => {
          ran = name
        })
      }
      await program.parseAsync(words, { from: 'user' })
      expect(words.join(' '), example).toContain(ran)
      expect(ran, example).not.toBe('')
    }
  })
})
