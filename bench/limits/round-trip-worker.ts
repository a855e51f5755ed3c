/** The other side of `round-trip.ts`: sleeps until a request comes, repeats it, sleeps again. Worker thread. Frozen. */
import { workerData } from 'node:worker_threads'
import { WORDS } from './round-trip.ts'

const words = workerData as Int32Array<SharedArrayBuffer>
let seen = 0
for (;;) {
  Atomics.wait(words, WORDS.request, seen)
  seen = Atomics.load(words, WORDS.request)
  if (seen < 0) break
  Atomics.store(words, WORDS.reply, seen)
  Atomics.notify(words, WORDS.reply)
}
