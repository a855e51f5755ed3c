/** A thread that looks at the engine's memory and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { EngineMemory, type EngineMemoryHandle } from '../../../engine/memory/engine-memory.ts'

const { handle, how } = workerData as { handle: EngineMemoryHandle; how: 'release' | 'releaseNow' }
const memory = new EngineMemory(handle)
const slots = memory.control.get(0, 0)
memory[how]()
parentPort?.postMessage({ slots })
