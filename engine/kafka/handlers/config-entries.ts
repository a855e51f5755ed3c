/** What the protocol says of a configuration entry: where its value comes from, and of what type it is. */
import { TOPIC_CONFIG_KEYS, type TopicConfigKey } from '../../log/topic-config.ts'

export const RESOURCE = { topic: 2, broker: 4 } as const
export const CONFIG_SOURCE = { topic: 1, broker: 4, default: 5 } as const
const CONFIG_TYPE = { string: 2, int: 3, long: 5, double: 6, list: 7 } as const

const INT_MAX = 0x7fff_ffff

export interface ConfigEntry {
  readonly name: string
  readonly value: string
  readonly readOnly: boolean
  readonly configSource: number
  readonly configType: number
}

/** Kafka's `cleanup.policy` is a list: clients add to it and take away from it. */
export function isList(key: string): boolean {
  return key === 'cleanup.policy'
}

function typeOf(key: TopicConfigKey): number {
  const spec = TOPIC_CONFIG_KEYS[key]
  if (isList(key)) return CONFIG_TYPE.list
  if (spec.kind === 'ratio') return CONFIG_TYPE.double
  if (spec.kind === 'choice') return CONFIG_TYPE.string
  return spec.max <= INT_MAX ? CONFIG_TYPE.int : CONFIG_TYPE.long
}

/** @param effective all keys; @param set those that were set for the topic */
export function topicEntries(
  effective: Readonly<Record<string, string>>,
  set: Readonly<Record<string, string>>,
): ConfigEntry[] {
  return Object.entries(effective).map(([name, value]) => ({
    name,
    value: value === String(Number.MAX_SAFE_INTEGER) ? '9223372036854775807' : value, // what Kafka writes for never
    readOnly: false,
    configSource: Object.hasOwn(set, name) ? CONFIG_SOURCE.topic : CONFIG_SOURCE.default,
    configType: typeOf(name as TopicConfigKey),
  }))
}

/** Configuration of the broker, which is set where the server is started. */
export function brokerEntries(values: Readonly<Record<string, string | number | boolean>>): ConfigEntry[] {
  return Object.entries(values).map(([name, value]) => ({
    name,
    value: String(value),
    readOnly: true,
    configSource: CONFIG_SOURCE.broker,
    configType: typeof value === 'boolean' ? 1 : typeof value === 'number' ? CONFIG_TYPE.long : CONFIG_TYPE.string,
  }))
}
