/**
 * Wall clocks that are wrong, for brokers that are started with them: libfaketime, of Debian's package `faketime`. The clocks that leases are counted on
 * (CLOCK_MONOTONIC, CLOCK_BOOTTIME) go on as they are, as they do on a machine whose date is set.
 */
import { execFileSync } from 'node:child_process'
import { globSync, writeFileSync } from 'node:fs'
import { needTool } from '../../faults/support/surroundings.ts'

const LIBRARY = '/usr/lib/*/faketime/libfaketimeMT.so.1'

/** Of a broker whose wall clock is off by so much: the environment that it is started with. */
export function clockOff(seconds: number): Record<string, string> {
  return { ...faked(), FAKETIME: sign(seconds) }
}

/** Of a broker whose wall clock is off by what a file says, from the moment on that it says so. */
export function clockOfFile(path: string): Record<string, string> {
  return { ...faked(), FAKETIME_TIMESTAMP_FILE: path, FAKETIME_NO_CACHE: '1' }
}

export function setClock(path: string, seconds: number): void {
  writeFileSync(path, `${sign(seconds)}\n`)
}

/** Why there can be none; undefined where there can. */
export function whyNoFaketime(): string | undefined {
  const missing = needTool('faketime', 'faketime')
  if (missing !== undefined) return missing
  if (globSync(LIBRARY).length === 0) return `there is no ${LIBRARY}`
  const environment = { ...process.env, ...clockOff(3_600) }
  const said = Number(execFileSync(process.execPath, ['-p', 'Date.now()'], { env: environment, encoding: 'utf8' }))
  return said - Date.now() > 3_000_000 ? undefined : 'libfaketime does not change the clock of this node'
}

const faked = (): Record<string, string> => ({
  LD_PRELOAD: globSync(LIBRARY)[0] as string,
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
})

const sign = (seconds: number): string => `${seconds < 0 ? '' : '+'}${seconds}s`
