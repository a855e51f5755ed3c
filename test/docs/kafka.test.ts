import { expect, test } from 'vitest'
import { SERVED } from '../../engine/kafka/served.ts'
import { namedTable, readDocument } from './support/markdown.ts'

test('docs/KAFKA.md names every API that is served, with its versions', () => {
  const documented = namedTable(readDocument('docs/KAFKA.md'), 'apis')
  const actual = Array.from(SERVED.values(), ({ api, first, last }) => [
    String(api.key),
    api.name,
    first === last ? String(first) : `${first}–${last}`,
  ])
  expect(documented).toEqual(actual)
})
