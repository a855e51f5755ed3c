/** The lines of a stream of bytes, as bytes: what is in them is nobody's business here. They end with a line feed, the last one may lack it. */
import { CommandError } from './failure.ts'

/** A longer line is no record: the largest batch that a producer sends is smaller. */
const LINE_BYTES_MAX = 1 << 30

const LINE_FEED = 0x0a

/** The lines that came with each chunk of the stream together. The bytes belong to the caller. */
export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer[], undefined> {
  let rest: Buffer[] = []
  let restBytes = 0
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const lines: Buffer[] = []
    let at = 0
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, at)) {
      const part = bytes.subarray(at, end)
      lines.push(rest.length === 0 ? part : Buffer.concat([...rest, part]))
      rest = []
      restBytes = 0
      at = end + 1
    }
    if (at < bytes.length) {
      rest.push(bytes.subarray(at))
      restBytes += bytes.length - at
    }
    if (restBytes > LINE_BYTES_MAX) {
      throw new CommandError(`a line is longer than ${LINE_BYTES_MAX} bytes`, 'Is this the right input?')
    }
    if (lines.length > 0) yield lines
  }
  if (rest.length > 0) yield [Buffer.concat(rest)]
  return undefined
}
