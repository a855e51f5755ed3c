import type { GroupConfig } from '../../../../engine/group/config.ts'
import type { JoinGroup } from '../../../../engine/group/requests.ts'
import { assigns, Coordinator, joinRequest, syncRequest } from './coordinator.ts'

/** A stable group in its first generation; member n, in order of joining, owns partition n of topic `t`. The first leads. */
export function stableGroup(
  size: number,
  join: Partial<JoinGroup> = {},
  config: Partial<GroupConfig> = {},
  instanceIds: readonly string[] = [],
): { one: Coordinator; ids: string[] } {
  const one = new Coordinator(config)
  const tokens = Array.from({ length: size }, (_, at) =>
    one.send(joinRequest({ instanceId: instanceIds[at] ?? null, ...join })),
  )
  while (one.isOpen(tokens[0] as number)) one.advance(1_000)
  const ids = tokens.map(token => one.answer<'JoinGroup'>(token).memberId)
  const assignments = Object.fromEntries(ids.map((memberId, at) => [memberId, assigns('t', at)]))
  for (const [at, memberId] of [...ids.entries()].reverse()) {
    const instanceId = instanceIds[at]
    one.send(syncRequest(1, memberId, { assignments, ...(instanceId === undefined ? {} : { instanceId }) }))
  }
  return { one, ids }
}
