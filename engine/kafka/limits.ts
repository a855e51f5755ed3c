/** Every bound of the Kafka server with its reason, beside those of `engine/base/limits.ts`. */
import { MIB } from '../base/limits.ts'

/** Fetch sessions, as Kafka's `max.incremental.fetch.session.cache.slots`. */
export const SESSIONS_MAX = 1_000

/** Partitions in all fetch sessions together, some 200 bytes each. */
export const SESSION_PARTITIONS_MAX = 200_000

/** Longest request, as Kafka's `socket.request.max.bytes`. */
export const REQUEST_BYTES_MAX = 100 * MIB

/** Bytes of all requests that are not complete; beyond it the connection that holds most is ended. */
export const PENDING_BYTES_MAX = 256 * MIB

/** Most bytes of one Fetch answer, as Kafka's `fetch.max.bytes`: a client may ask for 2 GiB. */
export const FETCH_BYTES_MAX = 55 * MIB

/** Longest wait of a Fetch: what a client may ask for more would only hold its connection. */
export const FETCH_WAIT_MS_MAX = 300_000

/** Connections of one server; each costs some 20 KiB. */
export const CONNECTIONS_MAX = 16_384
