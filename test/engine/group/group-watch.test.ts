import { expect, test } from 'vitest'
import { GroupWatch } from '../../../engine/group/group-watch.ts'

const NEVER_MS = 60_000

test('whoever waits is woken by a change of its group, and by no other', async () => {
  const watch = new GroupWatch()
  const version = await watch.awaitChange({ groupId: 'a', version: 0, waitMs: NEVER_MS })
  let woken: number | undefined
  const waiting = watch.awaitChange({ groupId: 'a', version, waitMs: NEVER_MS }).then(changed => (woken = changed))
  watch.changed('b')
  await new Promise(resolve => setImmediate(resolve))
  expect(woken).toBe(undefined)
  watch.changed('a')
  expect(await waiting).not.toBe(version)
})

test('a change between two calls is not missed', async () => {
  const watch = new GroupWatch()
  const first = await watch.awaitChange({ groupId: 'a', version: 0, waitMs: NEVER_MS })
  watch.changed('a')
  const second = await watch.awaitChange({ groupId: 'a', version: first, waitMs: NEVER_MS })
  expect(second).not.toBe(first)
  // Nor is one while nothing is kept of the group.
  watch.forget('a')
  watch.changed('a')
  expect(await watch.awaitChange({ groupId: 'a', version: second, waitMs: NEVER_MS })).not.toBe(second)
})

test('without a change it returns after a while, and at once when it is closed', async () => {
  const watch = new GroupWatch()
  const version = await watch.awaitChange({ groupId: 'a', version: 0, waitMs: NEVER_MS })
  const hold = setInterval(() => undefined, NEVER_MS) // the wait does not keep a process alive
  expect(await watch.awaitChange({ groupId: 'a', version, waitMs: 5 })).toBe(version)
  const waiting = watch.awaitChange({ groupId: 'a', version, waitMs: NEVER_MS })
  watch.close()
  expect(await waiting).toBe(version)
  clearInterval(hold)
})
