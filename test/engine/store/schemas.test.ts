import { describe, expect, test } from 'vitest'
import { schemaIdKey, schemaTextKey } from '../../../engine/store/keys.ts'
import { codeAndDetails, errorOf, openStore, putRaw, runChild, temporaryDirectory } from './support.ts'

describe('stored schemas', () => {
  test('the same text has the same id everywhere and one version in a subject', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    const { schemas } = store
    expect(schemas.register('a', 'one')).toEqual({ id: 1, subject: 'a', version: 1, text: 'one' })
    expect(schemas.register('a', 'two')).toEqual({ id: 2, subject: 'a', version: 2, text: 'two' })
    expect(schemas.register('b', 'two')).toEqual({ id: 2, subject: 'b', version: 1, text: 'two' })
    expect(schemas.register('a', 'one')).toEqual({ id: 1, subject: 'a', version: 1, text: 'one' })
    expect(schemas.register('b', 'three')).toEqual({ id: 3, subject: 'b', version: 2, text: 'three' })
    await store.close()

    const again = openStore(directory).schemas
    expect(again.get(2)).toEqual({ id: 2, subject: 'a', version: 2, text: 'two' })
    expect(again.idOf('three')).toBe(3)
    expect(again.idOf('four')).toBeUndefined()
    expect(again.latest('b')).toEqual({ id: 3, subject: 'b', version: 2, text: 'three' })
    expect(again.latest('c')).toBeUndefined()
    expect(again.versions('a').map(({ id }) => id)).toEqual([1, 2])
    expect(again.versions('c')).toEqual([])
    expect(again.list().map(({ subject, version, id }) => [subject, version, id])).toEqual([
      ['a', 1, 1],
      ['a', 2, 2],
      ['b', 1, 2],
      ['b', 2, 3],
    ])
    expect(again.register('c', 'four').id).toBe(4)
  })

  test.each([0, -1, 5, 1.5, 2 ** 31, Number.NaN])('id %s was never given out', id => {
    const { schemas } = openStore(temporaryDirectory())
    schemas.register('a', 'one')
    expect(schemas.get(id)).toBeUndefined()
  })

  test('versions go on in order past one byte', () => {
    const { schemas } = openStore(temporaryDirectory())
    for (let version = 1; version <= 300; version++) schemas.register('subject', `text ${version}`)
    expect(schemas.latest('subject')).toMatchObject({ version: 300, id: 300 })
    expect(schemas.versions('subject').map(({ version }) => version)).toEqual(
      Array.from({ length: 300 }, (_, i) => i + 1),
    )
  })

  test('a long text and a subject of any text come back', async () => {
    const { schemas } = openStore(temporaryDirectory())
    const text = 'é'.repeat(200_000)
    const subject = '\0\u{1f980}'.repeat(100)
    const { id } = schemas.register(subject, text)
    expect(schemas.get(id)).toEqual({ id, subject, version: 1, text })
    expect(await codeAndDetails(() => schemas.register('x'.repeat(1973), 'one'))).toEqual({
      code: 'INVALID_ARGUMENT',
      details: { argument: 'subject', bytes: 1973, bytesMax: 1972 },
    })
    expect(schemas.register('x'.repeat(1972), 'one').version).toBe(1)
  })

  test('a registered id survives a kill right after it was answered', () => {
    const directory = temporaryDirectory()
    const child = runChild(`
      const store = Store.open(${JSON.stringify(directory)})
      console.log(store.schemas.register('a', 'one').id)
      process.kill(process.pid, 'SIGKILL')`)
    expect(child.stdout).toBe('1\n')
    const { schemas } = openStore(directory)
    expect(schemas.get(1)?.text).toBe('one')
    expect(schemas.register('a', 'two').id).toBe(2)
  })

  test('unreadable ones are CORRUPT_STORE', async () => {
    const directory = temporaryDirectory()
    const store = openStore(directory)
    store.schemas.register('a', 'one')
    await store.close()
    await putRaw(directory, 'schemas', schemaIdKey(1 as never), '{"subject":"a"}')
    await putRaw(directory, 'schema-texts', schemaTextKey('two'), '7')
    await putRaw(directory, 'schema-texts', schemaTextKey('three'), '"7"')
    const { schemas } = openStore(directory)
    for (const read of [
      () => schemas.get(1),
      () => schemas.latest('a'),
      () => schemas.list(),
      () => schemas.idOf('two'),
      () => schemas.idOf('three'),
    ]) {
      expect((await errorOf(read)).code).toBe('CORRUPT_STORE')
    }
  })
})
