import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BenchCase, BenchContext, ratioOf } from '../../bench/harness/case.ts'
import { benchMain } from '../../bench/harness/cli.ts'
import { parseOptions } from '../../bench/harness/options.ts'
import { formatSpread, formatValue } from '../../bench/harness/report.ts'
import { runRounds } from '../../bench/harness/rounds.ts'
import { median, type Side } from '../../bench/harness/side.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-harness-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

/** A side that notes its calls and takes the given milliseconds, round by round. */
function scripted(name: string, calls: string[], ms: number[]): Side {
  return {
    work: 1000,
    prepare: () => void calls.push(`${name} prepare`),
    async round() {
      calls.push(`${name} round`)
      return ms.shift() as number
    },
    close: () => void calls.push(`${name} close`),
  }
}

const fixed = (name: string, value: number, limit: number, rest: Partial<BenchCase> = {}): BenchCase => ({
  name,
  unit: 'records/s',
  limitName: 'a bound',
  run: async () => ({ value, limit }),
  ...rest,
})

describe('runRounds', () => {
  it('takes turns, does not count the warm-up, and closes', async () => {
    const calls: string[] = []
    const sides = { limit: scripted('a', calls, [99, 2, 8, 4]), engine: scripted('b', calls, [1, 10, 30, 20]) }
    const times = await runRounds(sides, 3)
    expect(times.limit).toEqual({ work: 1000, medianMs: 4, fastestMs: 2, slowestMs: 8 })
    expect(times.engine).toEqual({ work: 1000, medianMs: 20, fastestMs: 10, slowestMs: 30 })
    const pass = ['a prepare', 'a round', 'b prepare', 'b round']
    expect(calls).toEqual([...pass, ...pass, ...pass, ...pass, 'a close', 'b close'])
  })

  it('passes an error on and closes both sides', async () => {
    const calls: string[] = []
    const broken: Side = {
      work: 1,
      round: () => Promise.reject(new Error('broken round')),
      close: () => void calls.push('closed'),
    }
    await expect(runRounds({ limit: scripted('a', calls, [1, 1]), engine: broken }, 1)).rejects.toThrow('broken round')
    expect(calls).toEqual(['a prepare', 'a round', 'a close', 'closed'])
  })
})

describe('BenchContext', () => {
  it('compares rates and latencies with their spread', async () => {
    const context = new BenchContext(directory, 3)
    const sides = (): [Side, Side] => [scripted('e', [], [1, 2, 4, 8]), scripted('l', [], [1, 1, 2, 4])]
    expect(await context.compareRates(...sides())).toEqual({
      value: 250_000,
      limit: 500_000,
      valueSpread: { low: 125_000, high: 500_000 },
      limitSpread: { low: 250_000, high: 1_000_000 },
    })
    expect(await context.compareLatencies(...sides(), 'a note')).toEqual({
      value: 4000,
      limit: 2000,
      valueSpread: { low: 2000, high: 8000 },
      limitSpread: { low: 1000, high: 4000 },
      note: 'a note',
    })
    expect(context.freshDirectory('x')).not.toBe(context.freshDirectory('x'))
    context.close()
  })

  it('cleans up after a case in reverse order, also behind an error', async () => {
    const context = new BenchContext(directory, 1)
    const calls: string[] = []
    const folder = context.freshDirectory('x')
    context.defer(() => void calls.push(`first, folder there: ${existsSync(folder)}`))
    context.defer(() => Promise.reject(new Error('broken cleanup')))
    context.defer(async () => void calls.push('last'))
    await expect(context.endCase()).rejects.toThrow('broken cleanup')
    expect(calls).toEqual(['last', 'first, folder there: true'])
    expect(existsSync(folder)).toBe(false)
    await context.endCase()
    expect(calls).toHaveLength(2)
  })
})

describe('the ratio', () => {
  it('is below 1 when the value stays behind the bound, whichever way is better', () => {
    expect(ratioOf('records/s', { value: 5, limit: 10 })).toBe(0.5)
    expect(ratioOf('us', { value: 20, limit: 5 })).toBe(0.25)
    expect(ratioOf('bytes', { value: 40, limit: 10 })).toBe(0.25)
  })
})

describe('the numbers', () => {
  it('have three digits and a unit', () => {
    expect(formatValue(31_234_567, 'records/s')).toBe('31.2 M records/s')
    expect(formatValue(4_853_000_000, 'bytes/s')).toBe('4.85 GB/s')
    expect(formatValue(592_100, 'acks/s')).toBe('592 k acks/s')
    expect(formatValue(312, 'lookups/s')).toBe('312 lookups/s')
    expect(formatValue(7.018, 'us')).toBe('7.02 µs')
    expect(formatValue(-1_500_000, 'bytes')).toBe('-1.50 MB')
    expect(formatValue(0, 'bytes')).toBe('0.00 B')
    expect(formatSpread(100, { low: 96, high: 102 })).toBe('-4 %…+2 %')
    expect(formatSpread(100, undefined)).toBe('')
  })

  it('have a median', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(2.5)
    expect(median([])).toBeNaN()
  })
})

describe('the command line', () => {
  const run = async (args: string[], cases: BenchCase[]): Promise<{ code: number; out: string; err: string }> => {
    let out = ''
    let err = ''
    const code = await benchMain(['--dir', directory, ...args], async () => cases, {
      out: text => {
        out += `${text}\n`
      },
      err: text => {
        err += `${text}\n`
      },
    })
    return { code, out, err }
  }

  it('writes an array of { case, value, unit, limit, ratio } and a table', async () => {
    const file = join(directory, 'out.json')
    const cases = [fixed('append/x', 5, 10, { bar: 0.4 }), fixed('latency/x', 30, 3, { unit: 'us', bar: 0.33 })]
    const { code, out } = await run(['--json', file, '--rounds', '2'], cases)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual([
      { case: 'append/x', value: 5, unit: 'records/s', limit: 10, ratio: 0.5 },
      { case: 'latency/x', value: 30, unit: 'us', limit: 3, ratio: 0.1 },
    ])
    expect(out).toMatch(/append\/x .*0\.50 +✓ ≥ 0\.4 +a bound/)
    expect(out).toMatch(/latency\/x .*0\.10 +✗ ≥ 0\.33 +a bound/)
    expect(code).toBe(0) // slowness is no failure
    expect(readdirSync(directory)).toEqual(['out.json'])
  })

  it('reports a broken case, still runs the others, and exits 1', async () => {
    const file = join(directory, 'out.json')
    let closed = false
    const broken = fixed('append/broken', 0, 0, {
      run(context) {
        context.defer(() => {
          closed = true
        })
        return Promise.reject(new Error('no engine today'))
      },
    })
    const { code, out, err } = await run(
      ['--json', file],
      [broken, fixed('append/nan', Number.NaN, 1), fixed('ok', 1, 1)],
    )
    expect(code).toBe(1)
    expect(err).toContain('append/broken: BROKEN: Error: no engine today')
    expect(err).toContain('append/nan: BROKEN')
    expect(closed).toBe(true) // an engine left open would keep the process alive
    expect(out).toContain('broken: append/broken, append/nan')
    expect(JSON.parse(readFileSync(file, 'utf8'))).toHaveLength(1)
  })

  it('runs only the cases that are asked for', async () => {
    const cases = [fixed('append/a', 1, 1), fixed('read/a', 1, 1)]
    expect((await run(['--only', 'read', '--list'], cases)).out).toBe('read/a\n')
    const { code, err } = await run(['--only', 'nothing'], cases)
    expect(code).toBe(2)
    expect(err).toContain('no case has "nothing" in its name')
  })

  it.each([['--rounds', '0'], ['--rounds', 'x'], ['--unknown'], ['stray']])('refuses %s %s', async (...args) => {
    const { code, err } = await run(args, [])
    expect(code).toBe(2)
    expect(err).toContain('npm run bench -- [options]')
  })

  it('has defaults', () => {
    expect(parseOptions([])).toEqual({
      only: '',
      rounds: 5,
      directory: tmpdir(),
      limits: false,
      list: false,
      help: false,
    })
  })
})
