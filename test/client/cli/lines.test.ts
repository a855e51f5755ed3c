import { expect, test } from 'vitest'
import { linesOf } from '../../../client/cli/lines.ts'
import { Random, testSeed } from '../../../engine/base/random.ts'

async function* chunksOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

async function linesIn(chunks: readonly Uint8Array[]): Promise<string[]> {
  const lines: string[] = []
  for await (const some of linesOf(chunksOf(chunks))) {
    expect(some.length).toBeGreaterThan(0)
    lines.push(...some.map(line => line.toString('latin1')))
  }
  return lines
}

test('lines are the same whatever the pieces they come in', async () => {
  const random = new Random(testSeed())
  for (let round = 0; round < 200; round++) {
    const bytes = Buffer.from(random.bytes(random.below(300)))
    for (let breaks = random.below(20); breaks > 0 && bytes.length > 0; breaks--) bytes[random.below(bytes.length)] = 10
    const expected = bytes.toString('latin1').split('\n')
    if (expected.at(-1) === '') expected.pop()
    const chunks: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + random.below(40))
      chunks.push(bytes.subarray(at, end))
      at = end
    }
    expect(await linesIn(chunks), `MILLRACE_SEED=${random.seed}`).toEqual(expected)
  }
})

test('the last line may lack its line feed, and an empty line is one', async () => {
  expect(await linesIn([])).toEqual([])
  expect(await linesIn([Buffer.from('\n')])).toEqual([''])
  expect(await linesIn([Buffer.from('a\n\nb')])).toEqual(['a', '', 'b'])
  expect(await linesIn([Buffer.from('a'), Buffer.from('b'), Buffer.from('\r\nc\n')])).toEqual(['ab\r', 'c'])
})
