import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

// Suites start worker threads and map files, so each file runs in a process of its own; many wait for
// others, so three at a time suit two cores.
// Fault suites that mount disks and trace system calls, which not every machine allows, and one that takes long, are a command
// of their own, `npm run test:faults`; `npm test` has the others.
const OWN_COMMAND = ['flush-errors', 'full-disk', 'power-loss', 'ten-thousand-partitions']
const isFaultRun = process.env['MILLRACE_FAULTS'] === 'all'

// Suites, the programs that they start, and the threads of both take what was compiled from one folder. The path is a whole one:
// programs run in other folders.
process.env['NODE_COMPILE_CACHE'] = resolve(
  process.env['NODE_COMPILE_CACHE'] ?? `${import.meta.dirname}/node_modules/.cache/compile`,
)

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: isFaultRun ? [] : OWN_COMMAND.map(name => `test/faults/${name}.test.ts`),
    globalSetup: 'test/warm-up.ts',
    setupFiles: ['test/seed.ts'],
    reporters: ['default', './test/overdue.ts'],
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 60_000,
    // Tests of threads and processes wait for each other; CI's machine may be busy with something else as well.
    retry: process.env['CI'] === undefined ? 0 : 2,
    hookTimeout: 60_000,
  },
})
