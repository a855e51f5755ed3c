/** FindCoordinator (key 10): which broker coordinates a group or a transaction. */
import { answer, array, int8, int16, int32, message, string } from '../codec/notation.ts'

export const findCoordinatorRequest = message('3+', {
  key: string('0-3'),
  keyType: int8('1+', { default: 0 }),
  coordinatorKeys: array('string', '4+'),
})

export const findCoordinatorResponse = answer('3+', {
  throttleTimeMs: int32('1+', { ignorable: true }),
  errorCode: int16('0-3'),
  errorMessage: string('1-3', { nullable: '1-3', ignorable: true }),
  nodeId: int32('0-3'),
  host: string('0-3'),
  port: int32('0-3'),
  coordinators: array(
    {
      key: string('4+'),
      nodeId: int32('4+'),
      host: string('4+'),
      port: int32('4+'),
      errorCode: int16('4+'),
      errorMessage: string('4+', { nullable: '4+', ignorable: true }),
    },
    '4+',
  ),
})

export const findCoordinator = {
  key: 10,
  name: 'FindCoordinator',
  versions: [0, 6],
  request: findCoordinatorRequest,
  response: findCoordinatorResponse,
} as const
