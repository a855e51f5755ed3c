#!/usr/bin/env node
/** The command `millrace`: runs what the command line says and ends with its exit code. */
import { runCommandLine } from './run.ts'

process.exitCode = await runCommandLine(process.argv.slice(2))
