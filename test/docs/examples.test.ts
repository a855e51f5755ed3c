import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Example, ExampleFolder, examplesOf, expectedOutput } from './support/examples.ts'

const examples = ['README.md', 'docs/API.md', 'docs/SCHEMAS.md', 'docs/KAFKA.md'].flatMap(document =>
  examplesOf(document),
)

describe('the examples of the documents', () => {
  let folder: ExampleFolder
  const files = new Map<Example, string>()

  beforeAll(() => {
    folder = new ExampleFolder()
    for (const example of examples) files.set(example, folder.add(example))
  })
  afterAll(() => folder.remove())

  test('are there', () => {
    expect(examples.filter(({ document }) => document === 'README.md').length).toBeGreaterThan(0)
    expect(examples.filter(({ document }) => document === 'docs/API.md').length).toBeGreaterThan(5)
    expect(examples.filter(({ document }) => document === 'docs/SCHEMAS.md').length).toBeGreaterThan(3)
  })

  test('have the right types', () => {
    expect(folder.typeErrors()).toBe('')
  })

  test.for(examples)('$document:$line, $heading', example => {
    const { status, stdout, stderr } = ExampleFolder.run(files.get(example) as string)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout.split('\n').filter(line => line !== '')).toEqual(expectedOutput(example))
  })
})
