/** A thread that looks at the engine's memory and ends, as a worker loop does. */
import { parentPort, workerData } from 'node:worker_threads'
import { EngineMemory, type EngineMemoryHandle } from '../../../engine/memory/engine-memory.ts'

const memory = new EngineMemory(workerData as EngineMemoryHandle, false, 'on release')
const logStartOffset = memory.control.get(0, 0)
memory.release()
parentPort?.postMessage({ logStartOffset })
