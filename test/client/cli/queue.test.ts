import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Millrace } from '../../../client/index.ts'
import { CommandLine, temporaryFolder } from './support/cli.ts'

const cli = new CommandLine(join(temporaryFolder(), 'data'))

interface QueueSummary {
  readonly queue: string
  readonly available: number
  readonly delayed: number
  readonly deadLettered: number
}

const summaries = (): Promise<QueueSummary[]> => cli.json<QueueSummary[]>(['queue', 'list'])

describe('queue', { timeout: 180_000 }, () => {
  test('a topic that is not there is not made by mistake', async () => {
    await cli.out(['topics', 'create', 'other'])
    const { exitCode, stderr } = await cli.run(['queue', 'push', 'emails'], { input: 'x\n' })
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('UNKNOWN_TOPIC_OR_PARTITION')])
    expect(await cli.run(['queue', 'describe', 'emails'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/UNKNOWN_QUEUE[\s\S]*queue push TOPIC/),
    })
    expect((await cli.run(['queue', 'redrive', 'other'])).stderr).toContain('UNKNOWN_QUEUE')
    expect(await cli.out(['queue', 'list'])).toBe('')
  })

  test('push, peek and take', async () => {
    const pushed = await cli.json(['queue', 'push', 'emails', '--create', '-k', 'k', '-H', 'from=shell'], {
      input: 'a\nb\nc\n',
    })
    expect(pushed).toMatchObject({ topic: 'emails', count: 3 })
    await cli.out(['queue', 'push', 'emails', '--delay', '3600000'], { input: 'later\n' })
    expect(await cli.out(['queue', 'peek', 'emails', '-n', '3'])).toBe('a\nb\nc\n')
    expect(await cli.lines(['queue', 'peek', 'emails', '--json', '-n', '1'])).toEqual([
      {
        ...{ topic: 'emails', partition: 0, offset: 0, timestamp: expect.any(Number), key: 'k', value: 'a' },
        headers: [{ key: 'from', value: 'shell' }],
        ...{ state: 'available', deliveryCount: 0 },
      },
    ])
    expect(await cli.out(['queue', 'take', 'emails', '-n', '2', '-f', '%o %k %v\\n'])).toBe('0 k a\n1 k b\n')
    expect(await cli.lines(['queue', 'take', 'emails', '-n', '9', '--json'])).toMatchObject([
      { value: 'c', deliveryCount: 1 },
    ])
    expect(await cli.run(['queue', 'take', 'emails'])).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringContaining('--wait'),
    })
    expect(await summaries()).toEqual([
      { queue: 'emails', topics: ['emails'], available: 0, delayed: 1, deadLettered: 0 },
    ])
    expect(await cli.lines(['queue', 'peek', 'emails', '--json'])).toMatchObject([{ value: 'later', state: 'delayed' }])
  })

  test('looking works beside a service, and taking does not', async () => {
    await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
    await engine.queue('emails').push('from the service')
    expect(await cli.out(['queue', 'list'])).toMatch(/emails {2}emails +1 +1 +0\n$/)
    expect(await cli.out(['queue', 'describe', 'emails'])).toMatch(
      /deadLetterTopic=dlq.emails\n[\s\S]* 4 +1 +1 +3 +0\n$/,
    )
    expect(await cli.out(['queue', 'peek', 'emails', '-f', '%v|'])).toBe('later|from the service|')
    expect((await cli.run(['queue', 'take', 'emails'])).stderr).toContain('DIRECTORY_LOCKED')
  })

  test('redrive brings dead letters back once, and only those of the queue', async () => {
    {
      await using engine = await Millrace.open(cli.directory, { writers: 1, jobThreads: 1 })
      for (const name of ['emails', 'faxes']) {
        const queue = engine.queue(name, { create: true, deadLetterTopic: 'graves' })
        if (name === 'faxes') await queue.push('a fax')
        for (const job of await queue.take(10, { waitMs: 50_000 })) await job.reject('no line')
        while ((await queue.statistics()).dying > 0) await new Promise(resolve => setTimeout(resolve, 5))
        expect((await queue.statistics()).deadLettered).toBe(1)
      }
    }
    expect((await cli.run(['queue', 'redrive', 'emails'])).stderr).toBe('1 job back to emails\n')
    expect(await cli.json(['queue', 'redrive', 'emails'])).toEqual({ topic: 'emails', count: 0 })
    expect(await cli.lines(['queue', 'take', 'emails', '--json'])).toMatchObject([
      { value: 'from the service', headers: [] },
    ])
    expect(await cli.json(['queue', 'redrive', 'faxes', '-n', '5'])).toEqual({ topic: 'faxes', count: 1 })
  })

  test('delete forgets a queue and leaves its topic', async () => {
    expect((await cli.run(['queue', 'delete', 'faxes'])).stderr).toBe('deleted the queue faxes\n')
    expect((await summaries()).map(({ queue }) => queue)).toEqual(['emails', 'emails.redrive', 'faxes.redrive'])
    expect(await cli.out(['consume', 'faxes'])).toBe('a fax\na fax\n')
    expect((await cli.run(['queue', 'delete', 'faxes'])).exitCode).toBe(1)
  })
})
