/** The soak in seconds: that the command works, and that what it checks can fail. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { soakMain } from '../../bench/soak/cli.ts'
import { Model } from '../../bench/soak/model.ts'
import { runSoak } from '../../bench/soak/soak.ts'
import { flatness, type Vitals } from '../../bench/soak/vitals.ts'
import { testSeed } from '../../engine/base/random.ts'

const seed = testSeed()
const MIB = 2 ** 20
let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-soak-test-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function command(...args: string[]): Promise<{ code: number; out: string }> {
  let out = ''
  const code = await soakMain(args, text => {
    out += `${text}\n`
  })
  return { code, out }
}

describe('the command', () => {
  test('does everything, says what, cleans up, and exits 0', async () => {
    const { code, out } = await command('--seconds', '4', '--dir', directory, '--seed', String(seed))
    expect(out).toContain('every record agreed with the model')
    expect(out).toMatch(/taken away +[1-9]\d* records by retention, [1-9]\d* by compaction/)
    expect(code).toBe(0)
    expect(readdirSync(directory)).toEqual([])
  })

  test.each([['--seconds', '0'], ['--seconds', 'x'], ['--seed', '-1'], ['--unknown'], ['stray']])(
    'refuses %s %s',
    async (...args) => {
      const { code, out } = await command(...args)
      expect(code).toBe(2)
      expect(out).toContain('npm run soak -- [options]')
    },
  )

  test('has help', async () => {
    expect(await command('--help')).toMatchObject({ code: 0, out: expect.stringContaining('default 3600') })
  })
})

describe('the check', () => {
  const models = { flow: new Model(seed, false), table: new Model(seed, true) }

  test('tells records of another content apart, in either topic', async () => {
    for (const [name, wrong] of Object.entries({
      flow: new Model(seed + 1, false),
      table: new Model(seed + 1, true),
    })) {
      const expected = { ...models, [name]: wrong }
      const path = mkdtempSync(join(directory, name))
      const { fault } = await runSoak({ directory: path, seconds: 20, seed, expected })
      expect(fault, `MILLRACE_SEED=${seed}`).toMatch(/another (key|value)/)
    }
  })
})

describe('flatness', () => {
  const samples = (anonymous: (i: number) => number, descriptors: (i: number) => number): Vitals[] =>
    Array.from({ length: 40 }, (_, i) => ({ anonymousBytes: anonymous(i), descriptors: descriptors(i) }))

  test('forgives the warm-up and a moment, and tells of what goes on growing', () => {
    const warm = samples(
      i => Math.min(i, 8) * 20 * MIB + (i === 39 ? 500 * MIB : 0),
      i => Math.min(i * 10, 60),
    )
    expect(flatness(warm).fault).toBe(undefined)
    expect(
      flatness(
        samples(
          i => i * 4 * MIB,
          () => 50,
        ),
      ).fault,
    ).toBe('anonymous memory grew by 80 MiB')
    expect(
      flatness(
        samples(
          () => MIB,
          i => i,
        ),
      ).fault,
    ).toBe('20 more descriptors are open')
    expect(flatness([]).fault).toBe(undefined)
  })
})
