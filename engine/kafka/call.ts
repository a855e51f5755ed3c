/** Who asks, and how. */
import type { Endpoint } from './server/listener.ts'

export interface Call {
  readonly apiVersion: number
  readonly clientId: string
  /** `/address` */
  readonly clientHost: string
  /** What the client is told to connect to. */
  readonly endpoint: Endpoint
  /** Aborted when the connection ends. */
  readonly signal: AbortSignal
}
