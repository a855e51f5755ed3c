import { describe, expect, test } from 'vitest'
import { TopicDirectory } from '../../../engine/group/topic-directory.ts'
import { TopicPattern } from '../../../engine/group/topic-pattern.ts'
import { topicIdOf } from './support/coordinator.ts'

test('a pattern matches whole names', () => {
  const pattern = new TopicPattern('ab+|c')
  expect(['ab', 'abbb', 'c'].map(name => pattern.matches(name))).toEqual([true, true, true])
  expect(['a', 'abc', 'xab', ''].map(name => pattern.matches(name))).toEqual([false, false, false, false])
})

test.each(['(', '[', 'a**', '(?=a)', '(?!a)', '(a)\\1', 'x'.repeat(1025)])('%.12s is refused', text => {
  expect(() => new TopicPattern(text)).toThrow(expect.objectContaining({ code: 'INVALID_REGULAR_EXPRESSION' }))
})

describe('time grows with the length of the name', () => {
  // Each of these takes a backtracking engine longer than the age of the universe on the name below.
  test.each(['(a+)+b', '(a|aa)+b', '(a*)*b', '([a-z]+)*1'])('for %s', text => {
    const pattern = new TopicPattern(text)
    const start = performance.now()
    expect(pattern.matches('a'.repeat(249))).toBe(false)
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

test('topics are found anew when the directory changed', () => {
  const directory = new TopicDirectory()
  const add = (name: string) =>
    directory.apply({
      type: 'TopicsChanged',
      changed: [{ name, topicId: topicIdOf(name), partitions: 1 }],
      removed: [],
    })
  const pattern = new TopicPattern('a.*')
  add('b')
  expect(pattern.topicsOf(directory)).toEqual([])
  add('ab')
  add('aa')
  expect(pattern.topicsOf(directory)).toEqual(['aa', 'ab'])
  expect(pattern.topicsOf(directory)).toBe(pattern.topicsOf(directory))
  directory.apply({ type: 'TopicsChanged', changed: [], removed: ['aa', 'unknown'] })
  expect(pattern.topicsOf(directory)).toEqual(['ab'])
})
