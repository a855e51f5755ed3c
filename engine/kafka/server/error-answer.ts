/**
 * An answer that says one error for everything that a request names, made from the two messages' notations: for tests of clients. Pure.
 *
 * Where the answer has a list whose items tell of errors it mirrors the list of the request at the same place: items get the
 * fields that both have (a partition is a partition whether it is called `index`, `partition` or `partitionIndex`).
 */
import type { Api } from '../codec/frames.ts'
import type { Field, Fields } from '../codec/notation.ts'

type Values = Readonly<Record<string, unknown>>

const PARTITION_NAMES = ['partition', 'partitionIndex', 'index']
const NO_ID = '00000000-0000-0000-0000-000000000000'

export function errorAnswer(api: Api, request: Values, errorCode: number): Values {
  return mirror(api.response.fields, api.request.fields, request, errorCode)
}

function mirror(fields: Fields, requestFields: Fields, request: Values, errorCode: number): Values {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, valueFor(name, field, requestFields, request, errorCode)]),
  )
}

function valueFor(name: string, field: Field, requestFields: Fields, request: Values, errorCode: number): unknown {
  if (name === 'errorCode') return errorCode
  if (field.kind === 'array') return tellsOfErrors(field) ? items(field, requestFields, request, errorCode) : []
  const known = knownValue(name, field, request)
  if (known !== undefined) return known
  if (field.options.default !== undefined) return field.options.default
  if (field.kind === 'struct') return mirror(field.fields as Fields, {}, {}, 0)
  if (field.kind === 'string') return ''
  if (field.kind === 'uuid') return NO_ID
  if (field.kind === 'bool') return false
  return field.kind === 'bytes' || field.kind === 'records' ? Buffer.alloc(0) : -1
}

function knownValue(name: string, { kind }: Field, request: Values): unknown {
  if (kind === 'array' || kind === 'struct' || kind === 'records') return undefined
  const names = PARTITION_NAMES.includes(name) ? PARTITION_NAMES : [name]
  return names.map(candidate => request[candidate]).find(value => value !== undefined)
}

function tellsOfErrors({ element }: Field): boolean {
  if (typeof element !== 'object') return false
  return Object.entries(element).some(
    ([name, field]) => name === 'errorCode' || (field.kind === 'array' && tellsOfErrors(field)),
  )
}

function items(field: Field, requestFields: Fields, request: Values, errorCode: number): Values[] {
  const source = Object.entries(requestFields).find(
    ([name, { kind }]) => kind === 'array' && Array.isArray(request[name]) && (request[name] as unknown[]).length > 0,
  )
  if (source === undefined) return []
  const [name, { element }] = source
  const elements = field.element as Fields
  return (request[name] as unknown[]).map(item => {
    if (typeof element === 'object') return mirror(elements, element, item as Values, errorCode)
    return mirror(elements, {}, { [keyOf(elements, typeof item)]: item }, errorCode)
  })
}

/** The field that an item stands for of which the request gives a number or a text alone. */
function keyOf(fields: Fields, type: string): string {
  const kinds = type === 'number' ? ['int32'] : ['string', 'uuid']
  const found = Object.entries(fields).find(([name, { kind }]) => kinds.includes(kind) && !name.startsWith('error'))
  return found?.[0] ?? ''
}
