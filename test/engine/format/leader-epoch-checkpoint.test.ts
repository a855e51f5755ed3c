import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatEpochCheckpoint, parseEpochCheckpoint } from '../../../engine/format/leader-epoch-checkpoint.ts'

const checkpoints = fc
  .tuple(
    fc.uniqueArray(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 20 }),
    fc.uniqueArray(fc.maxSafeNat(), { maxLength: 20 }),
  )
  .map(([epochs, offsets]) => {
    const count = Math.min(epochs.length, offsets.length)
    const sortedEpochs = epochs.slice(0, count).sort((a, b) => a - b)
    const sortedOffsets = offsets.slice(0, count).sort((a, b) => a - b)
    return sortedEpochs.map((epoch, i) => ({ epoch, startOffset: sortedOffsets[i] as number }))
  })

test("is Kafka's text", () => {
  expect(formatEpochCheckpoint([])).toBe('0\n0\n')
  expect(
    formatEpochCheckpoint([
      { epoch: 0, startOffset: 0 },
      { epoch: 3, startOffset: 1200 },
    ]),
  ).toBe('0\n2\n0 0\n3 1200\n')
})

test('reads back', () => {
  fc.assert(
    fc.property(checkpoints, entries => {
      expect(parseEpochCheckpoint(formatEpochCheckpoint(entries))).toEqual(entries)
    }),
  )
})

test('cut anywhere it is unreadable', () => {
  fc.assert(
    fc.property(checkpoints, entries => {
      const text = formatEpochCheckpoint(entries)
      for (let length = 0; length < text.length; length++)
        expect(parseEpochCheckpoint(text.slice(0, length))).toBeUndefined()
    }),
  )
})

test.each([
  ['no text', ''],
  ['another version', '1\n0\n'],
  ['fewer lines than counted', '0\n2\n0 0\n'],
  ['more lines than counted', '0\n1\n0 0\n1 5\n'],
  ['text behind the last line', '0\n1\n0 0\nx'],
  ['an epoch twice', '0\n2\n1 0\n1 5\n'],
  ['epochs that decrease', '0\n2\n2 0\n1 5\n'],
  ['a start offset twice', '0\n2\n1 5\n2 5\n'],
  ['offsets that decrease', '0\n2\n1 5\n2 4\n'],
  ['a negative epoch', '0\n1\n-1 0\n'],
  ['a negative offset', '0\n1\n0 -1\n'],
  ['an epoch of more than 31 bits', '0\n1\n2147483648 0\n'],
  ['an offset beyond 2^53', '0\n1\n0 9007199254740992\n'],
  ['a word', '0\n1\n0 zero\n'],
  ['a third number', '0\n1\n0 0 0\n'],
  ['two blanks', '0\n1\n0  0\n'],
  ['a count that is no number', '0\nx\n'],
  ['zeros of a file system', '\0\0\0\0\0\0\0\0'],
])('unreadable: %s', (_, text) => {
  expect(parseEpochCheckpoint(text)).toBeUndefined()
})
