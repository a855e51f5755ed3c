import { expect, test } from 'vitest'
import { MillraceError } from '../../../engine/base/errors.ts'
import { InvariantError, invariant } from '../../../engine/base/invariant.ts'

test('an invariant passes or throws what nobody mistakes for a condition of the world', () => {
  invariant(true, 'never')
  const broken = (): void => invariant(false, 'offsets went back')
  expect(broken).toThrow(InvariantError)
  expect(broken).toThrow('invariant broken: offsets went back')
  try {
    broken()
  } catch (error) {
    expect(error).not.toBeInstanceOf(MillraceError)
    expect((error as Error).name).toBe('InvariantError')
  }
})
