import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { FAILPOINTS, failpoint, failpointDue, failpointsArmed } from '../../../engine/base/failpoints.ts'

const MODULE = new URL('../../../engine/base/failpoints.ts', import.meta.url).href

/** Runs code that uses the module in a process with these failpoints armed. */
function run(
  points: string,
  code: string,
): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', `import * as f from ${JSON.stringify(MODULE)}\n${code}`],
    { encoding: 'utf8', env: { ...process.env, MILLRACE_FAILPOINTS: points }, timeout: 20_000 },
  )
  return { status, signal, stdout, stderr }
}

describe('failpoints', () => {
  test('do nothing where none is armed', () => {
    expect(failpointsArmed).toBe(false)
    for (const name of FAILPOINTS) {
      expect(failpointDue(name)).toBe(false)
      failpoint(name)
    }
    expect(run('', 'console.log(f.failpointsArmed)').stdout).toBe('false\n')
  })

  test('kill the process with SIGKILL, on the pass that was asked for', () => {
    const passes = `for (let pass = 1; ; pass++) { console.log(pass); f.failpoint('roll-before-create') }`
    expect(run('roll-before-create=kill', passes)).toMatchObject({ signal: 'SIGKILL', stdout: '1\n' })
    expect(run('roll-before-create=kill@3', passes)).toMatchObject({ signal: 'SIGKILL', stdout: '1\n2\n3\n' })
  })

  test('throw once, and only where they are armed', () => {
    const code = `
      for (const name of ['roll-after-create', 'flush-before-sync', 'flush-before-sync', 'flush-before-sync']) {
        const due = f.failpointDue(name)
        try { f.failpoint(name); console.log(name, due, 'passed') } catch (error) { console.log(name, due, error.message) }
      }`
    expect(run('flush-before-sync=throw@2', code).stdout.split('\n')).toEqual([
      'roll-after-create false passed',
      'flush-before-sync false passed',
      'flush-before-sync true failpoint flush-before-sync',
      'flush-before-sync false passed',
      '',
    ])
  })

  test('delay the thread', () => {
    const code = `
      const start = performance.now()
      f.failpoint('flush-after-sync')
      console.log(performance.now() - start >= 200)`
    expect(run('flush-after-sync=delay:200', code).stdout).toBe('true\n')
  })

  test('several are armed at once', () => {
    const code = `
      const start = performance.now()
      f.failpoint('flush-after-sync')
      console.log(performance.now() - start >= 100)
      try { f.failpoint('seal-before-cut') } catch { console.log('thrown') }`
    expect(run('flush-after-sync=delay:100, seal-before-cut=throw', code).stdout).toBe('true\nthrown\n')
  })

  test.each([
    'no-such-point=kill',
    'flush-after-sync',
    'flush-after-sync=stop',
    'flush-after-sync=throw@x',
    'a=throw,,',
  ])('"%s" is refused at once', points => {
    const { status, stderr } = run(points, 'console.log(1)')
    expect(status).toBe(1)
    expect(stderr).toContain('INVALID_ARGUMENT')
    expect(stderr).toContain('MILLRACE_FAILPOINTS')
  })

  test('have names of their own', () => {
    expect(new Set(FAILPOINTS).size).toBe(FAILPOINTS.length)
    for (const name of FAILPOINTS) expect(name).toMatch(/^[a-z]+(-[a-z]+)+$/)
  })
})
