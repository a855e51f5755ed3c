/** Checks of parsed JSON, for the value readers of the tables: what is not exactly the expected shape is unreadable. */

export type JsonObject = Readonly<Record<string, unknown>>

export function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

export function isInteger(json: unknown): json is number {
  return Number.isSafeInteger(json)
}

export function isText(json: unknown): json is string {
  return typeof json === 'string'
}

/** An object whose values are all text. */
export function isTextMap(json: unknown): json is Record<string, string> {
  return isObject(json) && Object.values(json).every(isText)
}
