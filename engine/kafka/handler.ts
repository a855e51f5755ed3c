/** What carries out the requests of one API. */
import type { Api } from './codec/frames.ts'
import type { MessageOf, WrittenMessage } from './codec/notation.ts'
import type { Call, KafkaService } from './service.ts'

/** @returns the answer; nothing is sent for `undefined` */
export type Handler<A extends Api> = (
  service: KafkaService,
  request: MessageOf<A['request']>,
  call: Call,
) => Answered<A> | Promise<Answered<A>>

type Answered<A extends Api> = WrittenMessage<A['response']> | undefined

/** An API that is served, in versions `first` to `last`. */
export interface Served {
  readonly api: Api
  readonly first: number
  readonly last: number
  readonly handle: Handler<Api>
}

/** Serves all versions of an API that are written down, or those that are named. */
export function serve<A extends Api>(
  api: A,
  handle: Handler<A>,
  versions: readonly [number, number] = api.versions,
): Served {
  return { api, first: versions[0], last: versions[1], handle: handle as unknown as Handler<Api> }
}

/** Operations that everyone may carry out, as bits, where nobody's permissions are checked. */
const operations = (...bits: number[]): number => bits.reduce((sum, bit) => sum | (1 << bit), 0)

export const TOPIC_OPERATIONS = operations(3, 4, 5, 6, 7, 8, 10, 11)
export const GROUP_OPERATIONS = operations(3, 6, 8, 10, 11)
export const CLUSTER_OPERATIONS = operations(5, 7, 8, 9, 10, 11, 12)
/** The client did not ask. */
export const NOT_ASKED = -2_147_483_648
