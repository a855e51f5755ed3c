/** A worker thread of a service: does what it is told over its parent port, with its own producers, readers and look-ups. */
import { parentPort, workerData } from 'node:worker_threads'
import { attachThread, isMillraceError, type ThreadHandle } from '../../../client/index.ts'

const { handle, name } = workerData as { handle: ThreadHandle; name: string }
const client = attachThread(handle)

/** Sends `count` messages of this thread, keyed and not, some of them in the synchronous way. */
async function send(topic: string, count: number): Promise<number> {
  await using producer = await client.producer({ batchBytes: 4_096, bufferBytes: 32_768 })
  const appender = await producer.appender(topic)
  let number = 0
  while (number < count) {
    const messages = Array.from({ length: 7 }, () => ({
      value: `${name}/${number++}`,
      key: name,
      timestamp: 1_000 + number,
    }))
    const sent = producer.send({ topic, messages })
    if (number % 3 === 0) await sent
    else sent.catch(() => undefined) // flush throws it
    for (let i = 0; i < 5; i++) {
      const value = Buffer.from(`${name}-sync/${number++}`)
      while (!appender.tryAppend(value, Buffer.from(name), 1_000 + number)) producer.waitReady()
    }
  }
  await producer.flush()
  return number
}

/** Reads until `total` records were seen, then tells how many of each sender came, and whether each was in order. */
async function follow(topic: string, total: number): Promise<{ counts: Record<string, number>; disorder: number }> {
  const counts: Record<string, number> = {}
  const last: Record<string, number> = {}
  let disorder = 0
  let seen = 0
  for await (const { value } of client.reader({ topic, to: 'never' }).records()) {
    const [sender, number] = Buffer.from(value ?? [])
      .toString()
      .split('/') as [string, string]
    counts[sender] = (counts[sender] ?? 0) + 1
    if (Number(number) <= (last[sender] ?? -1)) disorder += 1
    last[sender] = Number(number)
    seen += 1
    if (seen === total) break
  }
  return { counts, disorder }
}

async function lookUp(topic: string, partition: number, offset: number): Promise<string> {
  using lookup = await client.lookup(topic)
  const record = lookup.byOffset(partition, offset)?.copy()
  const byTime = lookup.byTimestamp(partition, record?.timestamp ?? 0)
  return `${Buffer.from(record?.value ?? [])} ${(byTime?.offset ?? Number.NaN) <= offset} ${lookup.latest(partition) > offset}`
}

/** The code of the error that a send throws. */
async function failing(topic: string): Promise<string> {
  try {
    await using producer = await client.producer()
    await producer.send({ topic, messages: [{ value: 'x' }] })
    return 'none'
  } catch (error) {
    return isMillraceError(error) ? `${error.code} ${JSON.stringify(error.details)}` : String(error)
  }
}

/** Sends one message after another until that fails: how many were acknowledged, and with what it failed. */
async function sendUntilFails(topic: string): Promise<{ acked: number; code: string }> {
  const producer = await client.producer()
  for (let acked = 0; ; acked++) {
    try {
      await producer.send({ topic, messages: [{ value: `${name}/${acked}` }] })
    } catch (error) {
      return { acked, code: isMillraceError(error) ? error.code : String(error) }
    }
  }
}

/** Makes a producer, leaves it attached with a batch that was not sent, and says so. */
async function leave(topic: string): Promise<number> {
  const producer = await client.producer({ lingerMs: 60_000 })
  for (let i = 0; i < 3; i++) void client.producer() // and some that are only asked for
  await producer.send({ topic, messages: [{ value: `${name} left` }], acks: 0 })
  return 1
}

let held: Awaited<ReturnType<typeof client.producer>> | undefined

const commands: Record<string, (...args: never[]) => Promise<unknown>> = {
  send,
  sendUntilFails,
  follow,
  lookUp,
  failing,
  leave,
  hold: async () => {
    held = await client.producer()
  },
  sendHeld: async (topic: string) => {
    const begunMs = performance.now()
    const code = await held?.send({ topic, messages: [{ value: 'late' }] }).then(
      () => 'sent',
      (error: { code?: string }) => String(error.code),
    )
    return { code, tookMs: performance.now() - begunMs }
  },
  evolveSchemas: async (subject: string, schemas: readonly string[]) => {
    const { isCompatible } = await client.schemas.check(subject, schemas[0] as string)
    for (const schema of schemas) await client.schemas.register(subject, schema)
    const lookup = await client.schemas.lookup(subject)
    const { id } = await client.schemas.latest(subject)
    await client.schemas.setCompatibility('FULL', subject)
    return [
      isCompatible,
      typeof lookup(id),
      await client.schemas.compatibility(subject),
      await client.schemas.versions(subject),
    ]
  },
  deleteSubject: (subject: string) => client.schemas.deleteSubject(subject),
  registerSchema: async (schema: string) => (await client.schemas.register('subject', schema)).id,
  close: async () => client.close(),
}

parentPort?.on('message', async ({ id, command, args }: { id: number; command: string; args: never[] }) => {
  try {
    parentPort?.postMessage({ id, value: await commands[command]?.(...args) })
  } catch (error) {
    parentPort?.postMessage({ id, error: String(error) })
  }
})
