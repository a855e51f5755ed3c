#!/usr/bin/env node
/** The command `millrace`: runs what the command line says and ends with its exit code. */
import { keepCompiled } from './compile-cache.ts'

keepCompiled() // before anything else is loaded

const { runCommandLine } = await import('./run.ts')
process.exitCode = await runCommandLine(process.argv.slice(2))
