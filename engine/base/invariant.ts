/** A broken rule of our own. Whoever owns the state it guards stops and reports; nobody catches it to go on. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`)
    this.name = 'InvariantError'
  }
}

/** Throws `InvariantError` unless `condition` holds. Keep the message a constant: it is built on hot paths. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}
