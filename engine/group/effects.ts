/**
 * What the parts of the state machine share while they handle an event: the time, the deadlines, and the actions that come
 * of it. Reading a clock, drawing a random id and everything else from outside comes in here.
 */
import {
  type ErrorCode,
  type ErrorData,
  type ErrorDetails,
  isMillraceError,
  MillraceError,
  toErrorData,
} from '../base/errors.ts'
import type { Action, Answer, Refuse, Reply, Write } from './actions.ts'
import type { GroupConfig } from './config.ts'
import { type Deadline, Deadlines } from './deadlines.ts'
import type { Token } from './requests.ts'
import type { TopicDirectory } from './topic-directory.ts'

/** What a deadline is about; the member is empty where it concerns the whole group. */
export interface Due {
  readonly kind:
    | 'session' // a member, or one that is pending, sent nothing for its session timeout
    | 'join' // the time for joining is over
    | 'sync' // the time for syncing is over
    | 'rebalance' // a member of KIP-848 did not give up partitions in time, or a classic one did not join or sync
  readonly groupId: string
  readonly memberId: string
}

/** The time, as the shell's clock gives it. */
export interface Instant {
  /** Never goes back; deadlines are counted in it. */
  readonly monotonicMs: number
  /** Since the Unix epoch; what is stored is stamped with it. */
  readonly wallMs: number
}

export class Effects {
  readonly config: GroupConfig
  readonly topics: TopicDirectory
  readonly deadlines = new Deadlines<Due>()
  /** A new unique text, for member ids. */
  readonly newId: () => string
  now: Instant = { monotonicMs: 0, wallMs: 0 }
  #writes: Write[] = []
  readonly #answers: (Reply | Refuse)[] = []

  constructor(config: GroupConfig, topics: TopicDirectory, newId: () => string) {
    this.config = config
    this.topics = topics
    this.newId = newId
  }

  reply(token: Token, answer: Answer): void {
    this.#answers.push({ type: 'reply', token, answer })
  }

  refuse(token: Token, code: ErrorCode, details: ErrorDetails): void {
    this.refuseWith(token, { code, details })
  }

  refuseWith(token: Token, error: ErrorData): void {
    this.#answers.push({ type: 'refuse', token, error })
  }

  write(write: Write): void {
    this.#writes.push(write)
  }

  /** In `delayMs` from now. */
  schedule(deadline: Deadline<Due>, delayMs: number): void {
    this.deadlines.set(deadline, this.now.monotonicMs + delayMs)
  }

  cancel(deadline: Deadline<Due>): void {
    this.deadlines.cancel(deadline)
  }

  /** Everything since the last call, writes first. */
  take(): Action[] {
    const actions: Action[] = this.#writes
    for (const answer of this.#answers) actions.push(answer)
    this.#writes = []
    this.#answers.length = 0
    return actions
  }
}

/** A request that is not to be carried out. Thrown before anything was changed for it. */
export function refusal(code: ErrorCode, details: ErrorDetails): MillraceError {
  return new MillraceError(code, details)
}

/** The data of a refusal; anything else that was thrown is thrown on. */
export function refusalData(error: unknown): ErrorData {
  if (!isMillraceError(error)) throw error
  return toErrorData(error)
}
