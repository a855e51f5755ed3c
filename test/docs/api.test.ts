import { describe, expect, test } from 'vitest'
import { resolveConsumerOptions } from '../../client/consumer-options.ts'
import type { ConsumerOptions } from '../../client/consumer-types.ts'
import * as api from '../../client/index.ts'
import { resolveProducerOptions } from '../../client/producer-options.ts'
import { ERRORS } from '../../engine/base/errors.ts'
import { resolveOptions } from '../../engine/broker/options.ts'
import { CODECS } from '../../engine/format/record-batch.ts'
import { GROUP_DEFAULTS } from '../../engine/group/config.ts'
import { TOPIC_CONFIG_KEYS } from '../../engine/log/topic-config.ts'
import { namedTable, readDocument, withoutBlocks } from './support/markdown.ts'

const text = readDocument('docs/API.md')

/** Everything in backquotes outside of fenced blocks. */
const code = [...withoutBlocks(text).matchAll(/`([^`\n]+)`/g)].map(([, inside]) => inside as string)

describe('docs/API.md', () => {
  test('the configuration keys, their defaults and ranges are those of the code', () => {
    const documented = namedTable(text, 'topic-config').map(([key, fallback, values]) => [key, fallback, values])
    const actual = Object.entries(TOPIC_CONFIG_KEYS).map(([key, spec]) => [
      key,
      String(spec.fallback),
      spec.kind === 'choice' ? spec.choices.join(' ') : spec.kind === 'ratio' ? '0 to 1' : `${spec.min} to ${spec.max}`,
    ])
    expect(documented).toEqual(actual)
  })

  test('the options of the engine and their ranges are those of the code', () => {
    const documented = namedTable(text, 'engine-options')
    const defaults = resolveOptions({})
    expect(documented.map(([option]) => option).sort()).toEqual(Object.keys(defaults).sort())
    for (const [option, fallback, range] of documented) {
      const name = option as keyof typeof defaults
      if (/^\d+$|^false$/.test(fallback as string)) expect(String(defaults[name])).toBe(fallback)
      if (range === '') continue
      const [min, max] = (range as string).split(' to ').map(Number) as [number, number]
      expect(resolveOptions({ [name]: min })).toMatchObject({ [name]: min })
      expect(resolveOptions({ [name]: max })).toMatchObject({ [name]: max })
      expect(() => resolveOptions({ [name]: min - 1 })).toThrow('INVALID_ARGUMENT')
      expect(() => resolveOptions({ [name]: max + 1 })).toThrow('INVALID_ARGUMENT')
    }
  })

  test('the options of a producer, their defaults and ranges are those of the code', () => {
    const { core, acks, lingerMs } = resolveProducerOptions({})
    const { batchBytes, usualBytes, bufferBytes, codec, deliveryTimeoutMs, idempotent } = core
    const documented = new Map(namedTable(text, 'producer-options').map(row => [row[0], row]))
    const defaults = {
      acks: `'${acks}'`,
      lingerMs: String(lingerMs),
      batchBytes: String(batchBytes),
      bufferBytes: `${usualBytes / batchBytes} × batchBytes, up to ${bufferBytes} for many partitions`,
      compression: `'${codec}'`,
      deliveryTimeoutMs: String(deliveryTimeoutMs),
      idempotent: String(idempotent),
    }
    expect(Object.fromEntries([...documented].map(([option, row]) => [option, row[1]]))).toEqual(defaults)
    expect(documented.get('compression')?.[2]).toBe(CODECS.join(' '))
    for (const [option, , range] of documented.values()) {
      const [, least, most] = /^(\d+|batchBytes) to (\d+)$/.exec(range as string) ?? []
      if (most === undefined) continue
      const [min, max] = [least === 'batchBytes' ? batchBytes : Number(least), Number(most)]
      // The default buffer of the largest batches would be too large.
      const buffer = option === 'batchBytes' ? { bufferBytes: 2 ** 30 } : {}
      const resolve = (value: number): unknown => resolveProducerOptions({ ...buffer, [option as string]: value })
      for (const value of [min, max]) expect(() => resolve(value)).not.toThrow()
      for (const value of [min - 1, max + 1]) expect(() => resolve(value)).toThrow('INVALID_ARGUMENT')
    }
  })

  test('the options of a consumer, their defaults and ranges are those of the code', () => {
    const documented = namedTable(text, 'consumer-options')
    const shown = (value: unknown): string =>
      value === null ? 'none' : typeof value === 'string' ? `'${value}'` : String(value)
    const actual = Object.entries(resolveConsumerOptions({})).map(([option, value]) => [option, shown(value)])
    expect(documented.map(([option, fallback]) => [option, fallback]).sort()).toEqual(actual.sort())
    const resolve = (option: string, value: unknown) => resolveConsumerOptions({ [option]: value } as ConsumerOptions)
    for (const [option = '', , range = ''] of documented) {
      if (option === 'autoOffsetReset') {
        for (const choice of range.split(' ')) expect(() => resolve(option, choice)).not.toThrow()
        expect(() => resolve(option, 'other')).toThrow('INVALID_ARGUMENT')
      }
      const [min, max] = range.split(' to ').map(Number) as [number, number]
      if (max === undefined) continue
      for (const value of [min, max]) expect(() => resolve(option, value)).not.toThrow()
      for (const value of [min - 1, max + 1]) expect(() => resolve(option, value)).toThrow('INVALID_ARGUMENT')
    }
  })

  test('the configuration of the group coordinator is that of the code', () => {
    const shown = (value: unknown): string =>
      typeof value === 'string'
        ? `'${value}'`
        : Array.isArray(value)
          ? `[${value.map(shown).join(', ')}]`
          : String(value)
    const documented = namedTable(text, 'group-config').map(([key, fallback]) => [key, fallback])
    expect(documented).toEqual(Object.entries(GROUP_DEFAULTS).map(([key, value]) => [key, shown(value)]))
  })

  test('every export is mentioned', () => {
    const words = new Set(code.flatMap(inside => inside.match(/[A-Za-z_]+/g) ?? []))
    const missing = Object.keys(api).filter(name => !words.has(name))
    expect(missing).toEqual([])
  })

  test('every public member of every class is mentioned', () => {
    const words = new Set(code.flatMap(inside => inside.match(/[A-Za-z_]+/g) ?? []))
    const members = Object.entries(api as Readonly<Record<string, unknown>>).flatMap(([name, value]) =>
      typeof value === 'function' && value.prototype !== undefined
        ? Object.getOwnPropertyNames(value.prototype).map(member => [name, member] as const)
        : [],
    )
    expect(members.length).toBeGreaterThan(40)
    const hidden = ['constructor', 'toJSON'] // which JSON.stringify calls
    expect(members.filter(([, member]) => !hidden.includes(member) && !words.has(member))).toEqual([])
  })

  test('every error code that is mentioned exists', () => {
    const codes = code.filter(inside => /^[A-Z]+(?:_[A-Z]+)+$/.test(inside) && !Object.hasOwn(api, inside))
    expect(codes.length).toBeGreaterThan(20)
    expect(codes.filter(name => !Object.hasOwn(ERRORS, name))).toEqual([])
  })
})
