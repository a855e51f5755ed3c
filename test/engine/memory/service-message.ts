/** Messages for the tests of the service rings: every field follows from the running number, up to the largest numbers. */
import { ORDER, type ServiceMessage } from '../../../engine/memory/service-ring.ts'

const KINDS = Object.values(ORDER)

export function serviceMessage(sequence: number): ServiceMessage {
  return {
    kind: KINDS[sequence % KINDS.length] as number,
    slot: sequence & 0x3fff,
    slotGeneration: Math.imul(sequence, 0x9e37_79b1),
    fd: sequence & 0xff_ffff,
    status: 0,
    a: sequence * 1_000_003, // an offset
    b: 0x7f00_0000_0000 + sequence * 4_096, // an address
    c: Number.MAX_SAFE_INTEGER - sequence,
  }
}
