import { expect, test } from 'vitest'
import { SubscriptionCache } from '../../../../engine/group/consumer/subscribed-topics.ts'
import { TopicDirectory } from '../../../../engine/group/topic-directory.ts'
import { TopicPattern } from '../../../../engine/group/topic-pattern.ts'
import { topicIdOf } from '../support/coordinator.ts'

function directoryOf(...names: string[]): TopicDirectory {
  const directory = new TopicDirectory()
  const changed = names.map(name => ({ name, topicId: topicIdOf(name), partitions: 1 }))
  directory.apply({ type: 'TopicsChanged', changed, removed: [] })
  return directory
}

const patternOf = (text: string) => new TopicPattern(text)

test('equal subscriptions share what they come to, others do not', () => {
  const cache = new SubscriptionCache()
  const directory = directoryOf('a', 'b', 'c')
  const of = (topicNames: string[], topicRegex = '') => cache.topicsOf({ topicNames, topicRegex }, directory, patternOf)
  expect(of(['a', 'b'])).toBe(of(['a', 'b']))
  expect(of(['a', 'b']).topicIds).toEqual([topicIdOf('a'), topicIdOf('b')])
  expect(of(['a', 'x'], 'b|c').list.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  expect(of(['a', 'x'], 'b').list.map(({ name }) => name)).toEqual(['a', 'b'])
  // No name of a topic, but a client may send it.
  expect(of(['a,b']).list).toEqual([])
  expect(of(['a\0b']).list).toEqual([])
})

test('one list of names goes with several patterns', () => {
  const cache = new SubscriptionCache()
  const directory = directoryOf('a', 'b')
  const topicNames = ['a']
  expect(cache.topicsOf({ topicNames, topicRegex: '' }, directory, patternOf).list).toHaveLength(1)
  expect(cache.topicsOf({ topicNames, topicRegex: 'b' }, directory, patternOf).list).toHaveLength(2)
  expect(cache.topicsOf({ topicNames, topicRegex: '' }, directory, patternOf).list).toHaveLength(1)
})

test('topics that come, grow and go are seen', () => {
  const cache = new SubscriptionCache()
  const directory = directoryOf('a')
  const partitions = () =>
    cache.topicsOf({ topicNames: ['a', 'b'], topicRegex: '' }, directory, patternOf).list.map(topic => topic.partitions)
  expect(partitions()).toEqual([1])
  const topic = (name: string, count: number) => ({ name, topicId: topicIdOf(name), partitions: count })
  directory.apply({ type: 'TopicsChanged', changed: [topic('a', 3), topic('b', 2)], removed: [] })
  expect(partitions()).toEqual([3, 2])
  directory.apply({ type: 'TopicsChanged', changed: [], removed: ['a'] })
  expect(partitions()).toEqual([2])
})
