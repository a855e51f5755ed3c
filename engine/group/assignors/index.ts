/** The assignors by name. */
import type { ClientAssignor, ServerAssignor } from './assignor.ts'
import { rangeAssignor, serverRangeAssignor } from './range.ts'
import { roundRobinAssignor } from './round-robin.ts'
import { cooperativeStickyAssignor, stickyAssignor } from './sticky.ts'
import { uniformAssignor } from './uniform.ts'

/** Of the classic protocol, for the leader of a group. */
export const CLIENT_ASSIGNORS: readonly ClientAssignor[] = [
  rangeAssignor,
  roundRobinAssignor,
  stickyAssignor,
  cooperativeStickyAssignor,
]

/** Of KIP-848, in the coordinator. The first is the default. */
export const SERVER_ASSIGNORS: readonly ServerAssignor[] = [uniformAssignor, serverRangeAssignor]
