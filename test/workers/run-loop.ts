/** Runs one worker loop in a thread of its own, as Piscina does with its default export. */
import { parentPort, workerData } from 'node:worker_threads'

const { entry, start } = workerData as { entry: string; start: unknown }
const { default: run } = (await import(entry)) as { default: (start: unknown) => unknown }
// Fires as soon as the loop lets the event loop turn, again and again.
let turns = 0
const timer = setInterval(() => parentPort?.postMessage({ turns: ++turns }), 1)
await run(start)
clearInterval(timer)
parentPort?.postMessage('ended')
