import { expect, test } from 'vitest'
import { parsePartitionMetadata } from '../../../engine/format/partition-metadata.ts'

// Written by Kafka 4.4.0; its consumer names the topic by the same bytes.
const TEXT = 'version: 0\ntopic_id: 98ENSI2WT86JF8Da5VeCQQ'
const ID = 'f7c10d48-8d96-4fce-8917-c0dae5578241'

test('the id is a UUID, with and without a line feed at the end', () => {
  expect(parsePartitionMetadata(TEXT)).toBe(ID)
  expect(parsePartitionMetadata(`${TEXT}\n`)).toBe(ID)
})

test('anything else says nothing', () => {
  for (let length = 0; length < TEXT.length; length++) {
    expect(parsePartitionMetadata(TEXT.slice(0, length))).toBeUndefined()
  }
  expect(parsePartitionMetadata(TEXT.replace('version: 0', 'version: 1'))).toBeUndefined()
  expect(parsePartitionMetadata(`${TEXT}A`)).toBeUndefined()
  expect(parsePartitionMetadata(TEXT.replace('Q', '+'))).toBeUndefined()
  expect(parsePartitionMetadata(`${TEXT.slice(0, -1)}R`)).toBeUndefined() // bits that no id has
  expect(parsePartitionMetadata(`version: 0\ntopic_id: ${'A'.repeat(22)}`)).toBeUndefined()
})
