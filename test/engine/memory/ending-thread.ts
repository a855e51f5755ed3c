/** A thread that looks at the engine's memory and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { EngineMemory, type EngineMemoryHandle } from '../../../engine/memory/engine-memory.ts'

const memory = new EngineMemory(workerData as EngineMemoryHandle)
const logStartOffset = memory.control.get(0, 0)
memory.releaseNow()
parentPort?.postMessage({ logStartOffset })
