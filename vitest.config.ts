import { defineConfig } from 'vitest/config'

// Suites start worker threads and map files, so each file runs in a process of its own; two at a time suits two cores.
// Fault suites that mount disks, trace system calls and end processes by the dozen are a command of their own,
// `npm run test:faults`; `npm test` has kill -9 at random times and at every failpoint.
const OWN_COMMAND = ['crashed-threads', 'corruption', 'flush-errors', 'full-disk', 'power-loss']
const isFaultRun = process.env['MILLRACE_FAULTS'] === 'all'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: isFaultRun ? [] : OWN_COMMAND.map(name => `test/faults/${name}.test.ts`),
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    // Tests of threads and processes wait for each other; CI's machine may be busy with something else as well.
    retry: process.env['CI'] === undefined ? 0 : 2,
    hookTimeout: 60_000,
  },
})
