import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { CommandLine, temporaryFolder, WAIT_MS } from './support/cli.ts'

const folder = temporaryFolder()
const cli = new CommandLine(join(folder, 'data'))

beforeAll(async () => {
  await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
  for (const topic of ['a', 'b']) await engine.admin.createTopic({ topic, partitions: 2 })
  await using producer = await engine.producer()
  const messages = Array.from({ length: 20 }, (_, i) => ({ value: `${i}`, partition: i % 2, timestamp: 1_000 * i }))
  await producer.send({ topic: 'a', messages })
  await producer.send({ topic: 'b', messages })
  await engine.admin.resetOffsets('one', { to: { offset: 4 }, topics: ['a'] })
  await engine.admin.resetOffsets('two', { to: 'end', partitions: [{ topic: 'b', partition: 1 }] })
}, WAIT_MS)

describe('groups', { timeout: WAIT_MS }, () => {
  test('list and describe', async () => {
    expect(await cli.json(['groups', 'list'])).toEqual([
      { groupId: 'one', state: 'Empty', groupType: 'classic', protocolType: '' },
      { groupId: 'two', state: 'Empty', groupType: 'classic', protocolType: '' },
    ])
    expect(await cli.out(['groups', 'describe', 'one'])).toBe(
      [
        'one  Empty, classic, 0 members',
        '  topic  partition  offset  highWatermark  lag  member',
        '  a              0       4             10    6  -',
        '  a              1       4             10    6  -',
        '',
      ].join('\n'),
    )
    const all = await cli.json<{ groupId: string; offsets: { lag: number }[] }[]>(['groups', 'describe'])
    expect(all.map(({ groupId, offsets }) => [groupId, offsets.map(({ lag }) => lag)])).toEqual([
      ['one', [6, 6]],
      ['two', [0]],
    ])
    expect(await cli.run(['groups', 'describe', 'none'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/GROUP_ID_NOT_FOUND groupId=none[\s\S]*groups list/),
    })
  })

  test.for([
    [
      ['--to', 'start'],
      [0, 0],
    ],
    [
      ['--to', 'end'],
      [10, 10],
    ],
    [
      ['--to', '7'],
      [7, 7],
    ],
    [
      ['--to', '99'],
      [10, 10],
    ],
    [
      ['--to', '@5000'],
      [3, 2],
    ],
    [
      ['--shift', '-3'],
      [1, 1],
    ],
    [
      ['--shift', '2'],
      [6, 6],
    ],
    [
      ['--shift', '-9'],
      [0, 0],
    ],
  ] as [string[], number[]][])('a dry run with %s', async ([to, expected]) => {
    const result = await cli.json<{ executed: boolean; offsets: { from: number; to: number }[] }>([
      ...['groups', 'reset-offsets', 'one', ...to],
    ])
    expect(result.executed).toBe(false)
    expect(result.offsets.map(offset => offset.to)).toEqual(expected)
    expect(result.offsets.map(({ from }) => from)).toEqual([4, 4])
  })

  test('what makes no sense', async () => {
    const wrong: readonly (readonly [string[], number, RegExp])[] = [
      [['one'], 2, /either --to POSITION or --shift NUMBER/],
      [['one', '--to', 'start', '--shift', '1'], 2, /either --to POSITION or --shift NUMBER/],
      [['one', '--to', '-4'], 2, /--shift/],
      [['one', '--to', 'start', '--partitions', '0'], 2, /--topics/],
      [['one', '--to', 'start', '--dry-run', '--execute'], 2, /cannot be used with/],
      [['new', '--to', 'start'], 1, /GROUP_ID_NOT_FOUND/],
      [['one', '--to', 'start', '--topics', 'c'], 1, /UNKNOWN_TOPIC_OR_PARTITION/],
    ]
    for (const [args, exitCode, message] of wrong) {
      const outcome = await cli.run(['groups', 'reset-offsets', ...args])
      expect([outcome.exitCode, outcome.stdout], args.join(' ')).toEqual([exitCode, ''])
      expect(outcome.stderr).toMatch(message)
    }
  })

  test('beside a service that has the directory: members are shown, and the group is not reset', async () => {
    await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
    const consumer = engine.consumer({ groupId: 'live', clientId: 'shop', autoOffsetReset: 'earliest' })
    await new Promise(onAssigned => void consumer.subscribe('a', { onAssigned: () => onAssigned(undefined) }))
    await consumer.commit()
    const text = await cli.out(['groups', 'describe', 'live'])
    expect(text).toMatch(/^live {2}\w+, consumer, uniform, 1 member\n/)
    expect(text).toMatch(/\n {2}a +1 +0 +10 +10 +1\n/)
    expect(text).toMatch(/\n {2} +1 +[\w-]+ +shop +embedded +2\n/)
    expect((await cli.run(['groups', 'reset-offsets', 'live', '--to', 'end'])).stderr).toContain('NON_EMPTY_GROUP')
    expect((await cli.run(['groups', 'reset-offsets', 'one', '--to', 'end', '--execute'])).stderr).toMatch(
      /DIRECTORY_LOCKED[\s\S]*groups describe/,
    )
    expect(await engine.admin.deleteGroups(['live', 'none'])).toMatchObject([
      { groupId: 'live', error: { code: 'NON_EMPTY_GROUP' } },
      { groupId: 'none', error: { code: 'GROUP_ID_NOT_FOUND' } },
    ])
    await expect(engine.admin.deleteOffsets('live', [{ topic: 'a', partition: 0 }])).rejects.toThrow(
      'GROUP_SUBSCRIBED_TO_TOPIC',
    )
    await consumer.close()
    await engine.admin.deleteOffsets('live', [{ topic: 'a', partition: 0 }])
    const { offsets } = await engine.admin.describeGroup('live')
    expect(offsets.map(({ partition }) => partition)).toEqual([1])
  })

  test('reset and delete', async () => {
    expect(await cli.run(['groups', 'reset-offsets', 'one', '--shift', '1', '--execute'])).toMatchObject({
      exitCode: 0,
      stderr: 'one goes on there\n',
    })
    const [described] = await cli.json<{ offsets: { offset: number }[] }[]>(['groups', 'describe', 'one'])
    expect(described?.offsets.map(({ offset }) => offset)).toEqual([5, 5])
    const outcome = await cli.run(['groups', 'delete', 'one', 'none'])
    expect(outcome).toMatchObject({ exitCode: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/^deleted one\nmillrace: .*GROUP_ID_NOT_FOUND/)
    expect(await cli.out(['groups', 'list'])).not.toContain('one')
  })
})
