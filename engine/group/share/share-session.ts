/**
 * The calls of one thread to the share coordinator. It knows which members the thread has, so that they leave when it
 * dies. Lives in the broker's thread.
 */
import { MillraceError } from '../../base/errors.ts'
import type { ShareCall, ShareCalls, ShareMember } from './share-calls.ts'
import type { ShareCoordinator } from './share-coordinator.ts'

type Handlers = { readonly [C in ShareCall]: (request: ShareCalls[C][0]) => Promise<ShareCalls[C][1]> }

export class ShareSession {
  readonly #coordinator: ShareCoordinator
  readonly #members = new Map<string, ShareMember>()
  readonly #handlers: Handlers
  #hasEnded = false

  constructor(coordinator: ShareCoordinator) {
    this.#coordinator = coordinator
    this.#handlers = {
      open: request => coordinator.open(request),
      fetch: request => {
        this.#members.set(request.memberId, request)
        return coordinator.fetch(request)
      },
      cancel: request => coordinator.cancel(request),
      acknowledge: request => coordinator.acknowledge(request),
      leave: request => {
        this.#members.delete(request.memberId)
        return coordinator.leave(request)
      },
      describe: group => coordinator.describe(group),
    }
  }

  async call(call: string, request: unknown): Promise<unknown> {
    if (!Object.hasOwn(this.#handlers, call))
      throw new MillraceError('INVALID_ARGUMENT', { argument: 'call', value: call })
    if (this.#hasEnded) throw new MillraceError('CLOSED', { object: 'thread' })
    return this.#handlers[call as ShareCall](request as never)
  }

  /** The thread is gone: its members leave. */
  end(): void {
    this.#hasEnded = true
    for (const member of this.#members.values()) void this.#coordinator.leave(member)
    this.#members.clear()
  }
}
