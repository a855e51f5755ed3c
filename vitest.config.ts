import { defineConfig } from 'vitest/config'

// Suites start worker threads and map files, so each file runs in a process of its own; two at a time suits two cores.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
