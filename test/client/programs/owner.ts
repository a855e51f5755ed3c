/** The owner of a directory, for the tests of those who look in from outside. Does what standard input says, line by line. */
import { createInterface } from 'node:readline'
import { type Compatibility, Millrace } from '../../../client/index.ts'

const { directory } = JSON.parse(process.argv[2] as string) as { directory: string }
const engine = await Millrace.open(directory, { writers: 1, jobThreads: 1 })
const producer = await engine.producer()

const commands: Record<string, (...args: string[]) => Promise<unknown>> = {
  create: (topic = '', partitions = '1', config = '{}') =>
    engine.admin.createTopic({ topic, partitions: Number(partitions), config: JSON.parse(config) }),
  grow: (topic = '', partitions = '1') => engine.admin.createPartitions(topic, Number(partitions)),
  delete: (topic = '') => engine.admin.deleteTopic(topic),
  /** Values `from`, `from + 1` … of `bytes` each, one message at a time, over all partitions in turn. */
  append: async (topic = '', from = '0', count = '1', bytes = '0') => {
    const { partitions } = await engine.admin.describeTopic(topic)
    for (let i = Number(from); i < Number(from) + Number(count); i++) {
      const message = { value: `${i}`.padEnd(Number(bytes)), partition: i % partitions.length, timestamp: 1_000 + i }
      await producer.send({ topic, messages: [message] })
    }
  },
  trim: (topic = '', partition = '0', offset = '0') =>
    engine.admin.deleteRecords(topic, Number(partition), Number(offset)),
  register: (subject = '', schema = '') => engine.schemas.register(subject, schema),
  compatibility: (level = '', subject = '') => engine.schemas.setCompatibility(level as Compatibility, subject),
  forget: (subject = '') => engine.schemas.deleteSubject(subject),
  close: () => engine.close(),
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const [id, command = '', ...args] = line.split(' ')
  try {
    await commands[command]?.(...args)
    console.log(`done ${id}`)
  } catch (error) {
    console.log(`failed ${id} ${error}`)
  }
  if (command === 'close') break
}
process.stdin.destroy()
