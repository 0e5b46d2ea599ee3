/** Copies what comes into pieces of one size, each in memory of its own; the last may be shorter, and none is empty. */
export async function* inPieces(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  let piece = new Uint8Array(size);
  let length = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, size - length);
      piece.set(chunk.subarray(at, at + taken), length);
      at += taken;
      length += taken;
      if (length < size) continue;
      yield piece;
      piece = new Uint8Array(size); // whoever has the other one may hold it yet
      length = 0;
    }
  }
  if (length > 0) yield piece.subarray(0, length);
}
