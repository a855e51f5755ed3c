/**
 * What was compiled once is found again, in the system's folder for temporary files: a start takes half the time. Threads take the folder
 * from the environment, and commands that are run from here are not to have it.
 */
import { enableCompileCache } from 'node:module'

const NAME = 'NODE_COMPILE_CACHE'
let isOurs = false

export function keepCompiled(): void {
  const { directory } = enableCompileCache()
  if (directory === undefined || process.env[NAME] !== undefined) return
  process.env[NAME] = directory
  isOurs = true
}

/** The environment as it was when the process began. */
export function givenEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env }
  if (isOurs) delete env[NAME]
  return env
}
