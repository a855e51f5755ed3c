#!/usr/bin/env node
/** The command `millrace`: runs what the command line says and ends with its exit code. */
import { enableCompileCache } from 'node:module'

// What was compiled once is found again, in the system's folder for temporary files: a start takes half the time. Threads take the
// folder from the environment.
const { directory } = enableCompileCache()
if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory

const { runCommandLine } = await import('./run.ts')
process.exitCode = await runCommandLine(process.argv.slice(2))
