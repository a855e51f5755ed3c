import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Example, ExampleFolder, type ExampleRun, examplesOf, expectedOutput } from './support/examples.ts'

const DOCUMENTS = ['README.md', 'docs/API.md', 'docs/SCHEMAS.md', 'docs/KAFKA.md']
const examples = DOCUMENTS.flatMap(document => examplesOf(document))

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

  describe.for(DOCUMENTS)('%s', document => {
    const own = examples.filter(example => example.document === document)
    let run: ExampleRun
    beforeAll(async () => {
      run = await folder.run(own.map(example => files.get(example) as string))
    }, 240_000)

    test.for(own.map((example, index) => ({ ...example, index })))('line $line, $heading', ({ index, ...example }) => {
      expect(
        run.outputs[index]?.split('\n').filter(line => line !== ''),
        run.stderr,
      ).toEqual(expectedOutput(example))
    })

    test('they end by themselves, without a complaint', () => {
      expect(run).toMatchObject({ status: 0, stderr: '' })
    })
  })
})
