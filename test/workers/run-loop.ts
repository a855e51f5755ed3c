/** Runs one worker loop in a thread of its own, as Piscina does with its default export. */
import { parentPort, workerData } from 'node:worker_threads'

const { entry, start } = workerData as { entry: string; start: unknown }
const { default: run } = (await import(entry)) as { default: (start: unknown) => unknown }
parentPort?.postMessage({ ended: run(start) })
