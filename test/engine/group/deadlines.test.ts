import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Deadline, Deadlines } from '../../../engine/group/deadlines.ts'

test('is a sorted list of what is due', () => {
  const commands = fc.array(fc.tuple(fc.nat(9), fc.constantFrom('set', 'cancel', 'take'), fc.nat(50)), {
    maxLength: 100,
  })
  fc.assert(
    fc.property(commands, steps => {
      const deadlines = new Deadlines<number>()
      const all = Array.from({ length: 10 }, (_, what) => new Deadline(what))
      const model = new Map<number, number>()
      for (const [which, step, ms] of steps) {
        if (step === 'set') {
          deadlines.set(all[which] as Deadline<number>, ms)
          model.set(which, ms)
        } else if (step === 'cancel') {
          deadlines.cancel(all[which] as Deadline<number>)
          model.delete(which)
        } else {
          const firstMs = Math.min(...model.values())
          const taken = deadlines.takeDue(ms)
          if (firstMs > ms) expect(taken).toBeUndefined()
          else {
            expect(model.get(taken as number)).toBe(firstMs)
            model.delete(taken as number)
          }
        }
        expect(deadlines.nextMs()).toBe(Math.min(...model.values()))
        expect(deadlines.size).toBe(model.size)
        for (const [what, deadline] of all.entries()) expect(deadline.isSet).toBe(model.has(what))
      }
    }),
  )
})
