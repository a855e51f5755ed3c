/**
 * How many rounds of `kill -9` a run has: `MILLRACE_KILL_ROUNDS`, default 20, in `npm run test:faults` 100. Three fifths of them at random moments, the rest at
 * failpoints, where a pass over all of them takes some 40.
 */
const TOTAL = Number(process.env['MILLRACE_KILL_ROUNDS'] ?? (process.env['MILLRACE_FAULTS'] === 'all' ? 100 : 20))
const ROUNDS_OF_A_PASS = 40

export const randomRounds = (): number => Math.max(1, Math.round(TOTAL * 0.6))

/** Passes over the list of failpoints, at least one. */
export const failpointPasses = (): number => Math.max(1, Math.round((TOTAL * 0.4) / ROUNDS_OF_A_PASS))
